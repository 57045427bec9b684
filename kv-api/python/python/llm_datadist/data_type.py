"""Types of tensor elements."""

from enum import Enum


class DataType(Enum):
    """What a tensor is made of. Numbers are those of the Ascend graph engine."""

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


#: Bytes of an element.
SIZES = {
    DataType.DT_FLOAT: 4,
    DataType.DT_FLOAT16: 2,
    DataType.DT_BF16: 2,
    DataType.DT_INT8: 1,
    DataType.DT_INT16: 2,
    DataType.DT_UINT16: 2,
    DataType.DT_UINT8: 1,
    DataType.DT_INT32: 4,
    DataType.DT_INT64: 8,
    DataType.DT_UINT32: 4,
    DataType.DT_UINT64: 8,
    DataType.DT_BOOL: 1,
    DataType.DT_DOUBLE: 8,
    DataType.DT_STRING: 16,
}

python_dtype_2_dwrapper_dtype = {data_type: data_type.value for data_type in DataType}


def get_python_dtype_from_wrapper_dtype(wrapper_dtype):
    """The type of a number."""
    try:
        return DataType(wrapper_dtype)
    except ValueError:
        raise ValueError(f"The data type {wrapper_dtype} is not supported.") from None


_NUMPY_NAMES = {
    DataType.DT_FLOAT: "float32",
    DataType.DT_FLOAT16: "float16",
    DataType.DT_BF16: "float16",
    DataType.DT_INT8: "int8",
    DataType.DT_INT16: "int16",
    DataType.DT_UINT16: "uint16",
    DataType.DT_UINT8: "uint8",
    DataType.DT_INT32: "int32",
    DataType.DT_INT64: "int64",
    DataType.DT_UINT32: "uint32",
    DataType.DT_UINT64: "uint64",
    DataType.DT_BOOL: "bool_",
    DataType.DT_DOUBLE: "double",
    DataType.DT_STRING: "bytes_",
}


def __getattr__(name):
    # NumPy is needed for these tables only.
    if name not in ("dtype_to_np_dtype", "valid_np_dtypes", "np_dtype_to_dtype"):
        raise AttributeError(f"module {__name__} has no attribute {name}")
    import numpy

    table = {data_type: getattr(numpy, np_name) for data_type, np_name in _NUMPY_NAMES.items()}
    back = {numpy.dtype(np_type): data_type for data_type, np_type in table.items() if data_type != DataType.DT_BF16}
    globals().update(dtype_to_np_dtype=table, valid_np_dtypes=list(table.values()), np_dtype_to_dtype=back)
    return globals()[name]
