DATABASES = {
    "default": {
        **contract.DATABASE_URL,
        # Threads come and go under ASGI and would take their connections with them:
        # https://docs.djangoproject.com/en/5.2/ref/databases/#persistent-connections
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            # Several processes write to one file: readers do not wait for writers, and a
            # transaction that will write says so at once instead of failing half-way.
            # https://docs.djangoproject.com/en/5.2/ref/databases/#sqlite-notes
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,  # seconds
        },
    }
}
