from enum import IntEnum

class LLMStatusCode(IntEnum):
    LLM_SUCCESS = 0
    LLM_FAILED = 0xFFFFFFFF
    LLM_PARAM_INVALID = 0x5010B005
    LLM_WAIT_PROCESS_TIMEOUT = 0x5010B001
    LLM_KV_CACHE_NOT_EXIST = 0x5010B002
    LLM_REPEAT_REQUEST = 0x5010B003
    LLM_REQUEST_ALREADY_COMPLETED = 0x5010B004
    LLM_ENGINE_FINALIZED = 0x5010B006
    LLM_NOT_YET_LINK = 0x5010B007
    LLM_ALREADY_LINK = 0x5010B008
    LLM_LINK_FAILED = 0x5010B009
    LLM_UNLINK_FAILED = 0x5010B00A
    LLM_NOTIFY_PROMPT_UNLINK_FAILED = 0x5010B00B
    LLM_CLUSTER_NUM_EXCEED_LIMIT = 0x5010B00C
    LLM_PROCESSING_LINK = 0x5010B00D
    LLM_DEVICE_OUT_OF_MEMORY = 0x5010B00E
    LLM_PREFIX_ALREADY_EXIST = 0x5010B00F
    LLM_PREFIX_NOT_EXIST = 0x5010B010
    LLM_SEQ_LENOVERLIMIT = 0x5010B011
    LLM_NO_FREE_BLOCK = 0x5010B012
    LLM_BLOCKS_OUT_OF_MEMORY = 0x5010B013
    LLM_EXIST_LINK = 0x5010B018
    LLM_FEATURE_NOT_ENABLED = 0x5010B019
    LLM_TIMEOUT = 0x5010B01A
    LLM_LINK_BUSY = 0x5010B01B
    LLM_OUT_OF_MEMORY = 0x5010B01C
    LLM_DEVICE_MEM_ERROR = 507053
    LLM_SUSPECT_REMOTE_ERROR = 507057
    LLM_UNKNOWN_ERROR = -1

class LLMException(RuntimeError):
    def __init__(self, *args: object, status_code: LLMStatusCode = ...) -> None: ...
    @property
    def status_code(self) -> LLMStatusCode: ...

class Status:
    def __init__(self, status: LLMStatusCode) -> None: ...
    def is_ok(self) -> bool: ...
    @property
    def status_code(self) -> LLMStatusCode: ...

def code_2_status(status: int) -> LLMStatusCode: ...
def handle_llm_status(status: int, func_name: str, other_info: object) -> None: ...

# *args and **kwargs go to str.format() of `fmt`.
def raise_if_false(
    pred: object, fmt: str, *args: object, status_code: LLMStatusCode = ..., **kwargs: object
) -> None: ...
def raise_if_true(
    pred: object, fmt: str, *args: object, status_code: LLMStatusCode = ..., **kwargs: object
) -> None: ...
