"""Where static files are collected: under hashed names, with a compressed copy beside each."""

from servestatic.storage import CompressedManifestStaticFilesStorage


class StaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Rewrite the imports between JavaScript modules to hashed names too."""

    support_js_module_import_aggregation = True
