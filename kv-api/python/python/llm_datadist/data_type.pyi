from enum import Enum
from typing import Any, Dict, List, Type

from numpy import dtype, generic

class DataType(Enum):
    DT_FLOAT = 0
    DT_FLOAT16 = 1
    DT_BF16 = 27
    DT_INT8 = 2
    DT_INT16 = 6
    DT_UINT16 = 7
    DT_UINT8 = 4
    DT_INT32 = 3
    DT_INT64 = 9
    DT_UINT32 = 8
    DT_UINT64 = 10
    DT_BOOL = 12
    DT_DOUBLE = 11
    DT_STRING = 13

SIZES: Dict[DataType, int]
python_dtype_2_dwrapper_dtype: Dict[DataType, int]

# These need NumPy, and import it when they are asked for.
dtype_to_np_dtype: Dict[DataType, Type[generic]]
valid_np_dtypes: List[Type[generic]]
np_dtype_to_dtype: Dict[dtype[Any], DataType]

def get_python_dtype_from_wrapper_dtype(wrapper_dtype: int) -> DataType: ...
