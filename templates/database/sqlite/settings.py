DATABASES = {
    "default": {
        **env.DATABASE_URL,
        # Under ASGI, threads are short-lived, and persistent connections would pile up:
        # https://docs.djangoproject.com/en/5.2/ref/databases/#persistent-connections
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            # Several processes write to one file. With WAL, readers do not wait for writers. An
            # IMMEDIATE transaction waits for its lock at the start, instead of failing half-way.
            # https://docs.djangoproject.com/en/5.2/ref/databases/#sqlite-notes
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,  # seconds
        },
    }
}
