"""Keep secrets to their owner: a file's mode is the one thing that a template cannot say."""

from pathlib import Path

Path(".env").chmod(0o600)
Path("secrets").chmod(0o700)
for secret in Path("secrets").iterdir():
    secret.chmod(0o644)  # for the users of the containers, who get the files without the folder
