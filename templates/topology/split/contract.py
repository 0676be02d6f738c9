WEB_THREADS = env.int("WEB_THREADS", 8, validate=at_least_1)
