"""Status codes, and the exception that carries them."""

from enum import IntEnum

from llm_datadist.utils import log

_FIRST = 0x5010B000


class LLMStatusCode(IntEnum):
    """How a call ended. Numbers are upstream's."""

    LLM_SUCCESS = 0
    LLM_FAILED = 0xFFFFFFFF
    LLM_PARAM_INVALID = _FIRST + 0x05
    LLM_WAIT_PROCESS_TIMEOUT = _FIRST + 0x01
    LLM_KV_CACHE_NOT_EXIST = _FIRST + 0x02
    LLM_REPEAT_REQUEST = _FIRST + 0x03
    LLM_REQUEST_ALREADY_COMPLETED = _FIRST + 0x04
    LLM_ENGINE_FINALIZED = _FIRST + 0x06
    LLM_NOT_YET_LINK = _FIRST + 0x07
    LLM_ALREADY_LINK = _FIRST + 0x08
    LLM_LINK_FAILED = _FIRST + 0x09
    LLM_UNLINK_FAILED = _FIRST + 0x0A
    LLM_NOTIFY_PROMPT_UNLINK_FAILED = _FIRST + 0x0B
    LLM_CLUSTER_NUM_EXCEED_LIMIT = _FIRST + 0x0C
    LLM_PROCESSING_LINK = _FIRST + 0x0D
    LLM_DEVICE_OUT_OF_MEMORY = _FIRST + 0x0E
    LLM_PREFIX_ALREADY_EXIST = _FIRST + 0x0F
    LLM_PREFIX_NOT_EXIST = _FIRST + 0x10
    LLM_SEQ_LENOVERLIMIT = _FIRST + 0x11
    LLM_NO_FREE_BLOCK = _FIRST + 0x12
    LLM_BLOCKS_OUT_OF_MEMORY = _FIRST + 0x13
    LLM_EXIST_LINK = _FIRST + 0x18
    LLM_FEATURE_NOT_ENABLED = _FIRST + 0x19
    LLM_TIMEOUT = _FIRST + 0x1A
    LLM_LINK_BUSY = _FIRST + 0x1B
    LLM_OUT_OF_MEMORY = _FIRST + 0x1C
    LLM_DEVICE_MEM_ERROR = 507053
    LLM_SUSPECT_REMOTE_ERROR = 507057
    LLM_UNKNOWN_ERROR = -1

    def __str__(self):
        return f"{type(self).__name__}.{self.name}"


class LLMException(RuntimeError):
    """A call that failed; `status_code` says how."""

    def __init__(self, *args, status_code=LLMStatusCode.LLM_SUCCESS):
        super().__init__(*args)
        self._status_code = status_code

    @property
    def status_code(self):
        return self._status_code


class Status:
    """A status code that can be asked whether it is one of success."""

    def __init__(self, status):
        self._status_code = status

    def is_ok(self):
        return self._status_code == LLMStatusCode.LLM_SUCCESS

    @property
    def status_code(self):
        return self._status_code


def code_2_status(status):
    """The status of a number; LLM_FAILED for one that there is not."""
    try:
        return LLMStatusCode(status)
    except ValueError:
        return LLMStatusCode.LLM_FAILED


def handle_llm_status(status, func_name, other_info):
    """Raises for every status but success."""
    if status != LLMStatusCode.LLM_SUCCESS:
        code = code_2_status(status)
        raise LLMException(f"{func_name} failed, error code is {code}, {other_info}.", status_code=code)


def raise_if_false(pred, fmt, *args, status_code=LLMStatusCode.LLM_PARAM_INVALID, **kwargs):
    """Raises, with a message that is formatted, unless something holds."""
    if not pred:
        message = fmt.format(*args, **kwargs) if args or kwargs else fmt
        log.error(message)
        raise LLMException(message, status_code=status_code)


def raise_if_true(pred, fmt, *args, status_code=LLMStatusCode.LLM_PARAM_INVALID, **kwargs):
    """Raises, with a message that is formatted, if something holds."""
    raise_if_false(not pred, fmt, *args, status_code=status_code, **kwargs)
