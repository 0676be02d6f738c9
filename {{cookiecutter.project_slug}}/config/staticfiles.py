"""Static files: collected under hashed names, with a compressed copy beside each."""

from django.http import Http404
from servestatic.middleware import ServeStaticMiddleware
from servestatic.responders import MissingFileError
from servestatic.storage import CompressedManifestStaticFilesStorage


class Storage(CompressedManifestStaticFilesStorage):
    """Rewrite the imports between JavaScript modules to hashed names, too."""

    support_js_module_import_aggregation = True


class Middleware(ServeStaticMiddleware):
    """Serve static files without nginx. In development, a missing one is a 404, not a 500."""

    async def __call__(self, request):
        try:
            return await super().__call__(request)
        except MissingFileError as error:
            raise Http404(str(error)) from None
