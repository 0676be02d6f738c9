    assert explained - read == {"COMPOSE_FILE", "HTTP_PORT", "APP_REPLICAS"}  # Compose's own
