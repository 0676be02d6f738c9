    own = {"COMPOSE_FILE", "HTTP_PORT", "APP_REPLICAS", "WEB_REPLICAS"}  # Compose's
    assert explained - read == own
