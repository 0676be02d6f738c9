-- The image runs this once, as the superuser `postgres`, when it initialises the volume:
-- https://hub.docker.com/_/postgres, "Initialization scripts".

-- The image gave the superuser the application's password. Without a password, the superuser can
-- log in from inside the container only.
ALTER ROLE postgres PASSWORD NULL;

-- Not a superuser: superusers may run programs. https://www.postgresql.org/docs/18/sql-copy.html
\getenv password POSTGRES_PASSWORD
CREATE ROLE app LOGIN PASSWORD :'password';

-- Last, so that a half-initialised volume fails the health check in compose.yaml.
CREATE DATABASE app OWNER app;
