"""The worker that gunicorn runs: uvicorn's, with the settings that gunicorn has no option for."""

import signal
from types import FrameType
from typing import Any, ClassVar

from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]

from serve import (
    conf,
    gunicorn_patches,  # noqa: F401
    uvicorn_patches,  # noqa: F401
)
from serve.server import TESTED_VERSIONS
from serve.versions import require_versions

require_versions(TESTED_VERSIONS)


class PatchedUvicornWorker(UvicornWorker):  # type: ignore[misc]
    """Serve the application by uvicorn. https://uvicorn.dev/settings/"""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "proxy_headers": False,
        "server_header": False,
        "timeout_graceful_shutdown": conf.settings().REQUEST_TIMEOUT,
        "ws": "serve.uvicorn_patches:PatchedWSProtocol",
        "ws_max_size": conf.settings().WS_MAX_MESSAGE_BYTES,
        "ws_ping_interval": conf.settings().WS_PING_INTERVAL,
        "ws_ping_timeout": conf.settings().WS_PING_TIMEOUT,
        # Compression doubles the memory of a WebSocket, and most messages are short.
        "ws_per_message_deflate": False,
    }

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop on SIGQUIT as on SIGTERM.

        Symptom: gunicorn sends SIGQUIT on Ctrl-C, which stops nothing in uvicorn's worker.
        https://github.com/Kludex/uvicorn-worker/issues/2
        """
        signal.raise_signal(signal.SIGTERM)
