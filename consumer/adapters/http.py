"""/metrics, /healthz and /readyz, on the service's own event loop: if that is blocked, they do not answer."""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from consumer.adapters.metrics import CONTENT_TYPE, Metrics
from consumer.errors import ConfigurationError
from consumer.health import Health

_SHUTDOWN_S = 2.0  # for answers that somebody does not read


class HttpServer:
    """Listens from `start` to `close`."""

    def __init__(self, metrics: Metrics, health: Health) -> None:
        self._metrics, self._health = metrics, health
        app = web.Application()
        app.router.add_get("/metrics", self._exposition)
        app.router.add_get("/healthz", self._answer(health.why_not_healthy))
        app.router.add_get("/readyz", self._answer(health.why_not_ready))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)

    async def start(self, host: str, port: int) -> str:
        """Returns the base URL; raises `ConfigurationError` if the address cannot be had."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            raise ConfigurationError(f"cannot listen on http_host {host}, http_port {port}: {error}") from error
        return f"http://{host}:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _exposition(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})

    def _answer(self, why_not: Callable[[], list[str]]) -> Any:
        async def answer(_: web.Request) -> web.Response:
            problems = why_not()
            body = {"ok": not problems, "problems": problems, **self._health.summary()}
            return web.json_response(body, status=503 if problems else 200)

        return answer
