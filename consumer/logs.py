"""Logging: one line per change, as text for people or JSON for machines, on standard error."""

import logging
import sys

import structlog

from consumer.settings import Settings


def configure_logging(settings: Settings) -> None:
    """Set up structlog; client libraries stay silent: what matters of theirs is reported once per change."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    logging.basicConfig(level=logging.CRITICAL if level > logging.DEBUG else level)
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if settings.log_format == "text":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
