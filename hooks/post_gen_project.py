"""Restrict the modes of secrets, because a template cannot set modes."""

from pathlib import Path

Path(".env").chmod(0o600)
Path("secrets").chmod(0o700)
for secret in Path("secrets").iterdir():
    secret.chmod(0o644)  # read by the users of the containers, which mount only the files
