"""The package's logger. ASCEND_GLOBAL_LOG_LEVEL sets its level, as upstream: 0 debug, 1 info, 2 warning, 3 error."""

import logging
import os

_LEVELS = {"0": logging.DEBUG, "1": logging.INFO, "2": logging.WARNING, "3": logging.ERROR}


def get_logger():
    """The logger that upstream's scripts know by this name."""
    logger = logging.getLogger("LLM_DATADIST")
    if logger.level == logging.NOTSET:
        logger.setLevel(_LEVELS.get(os.environ.get("ASCEND_GLOBAL_LOG_LEVEL"), logging.ERROR))
    return logger


def info(message, *arguments, **keywords):
    get_logger().info(message, *arguments, **keywords)


def warn(message, *arguments, **keywords):
    get_logger().warning(message, *arguments, **keywords)


def error(message, *arguments, **keywords):
    get_logger().error(message, *arguments, **keywords)
