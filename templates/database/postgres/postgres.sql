-- Run once by the image, as the superuser `postgres`, when it makes the volume:
-- https://hub.docker.com/_/postgres, "Initialization scripts".

-- The image has given the superuser the application's password. Without one, it gets in from within
-- the container only.
ALTER ROLE postgres PASSWORD NULL;

-- No superuser: one may run programs. https://www.postgresql.org/docs/18/sql-copy.html
\getenv password POSTGRES_PASSWORD
CREATE ROLE app LOGIN PASSWORD :'password';

-- Last, so that a volume that was made by half does not pass the health check in compose.yaml.
CREATE DATABASE app OWNER app;
