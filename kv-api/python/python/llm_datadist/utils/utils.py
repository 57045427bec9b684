"""Checks of arguments: the wrong type raises TypeError, the right type out of range ValueError."""


def check_isinstance(arg_name, arg_value, classes, inner_class=None, extra_fmt="", allow_none=True):
    """The value, if it is of one of the classes and its items are of `inner_class`."""
    if arg_value is None and allow_none:
        return arg_value
    classes = classes if isinstance(classes, list) else [classes]
    if not isinstance(arg_value, tuple(classes)):
        names = [clazz.__name__ for clazz in classes]
        raise TypeError(f"{extra_fmt}{arg_name} only support {names}, but got {type(arg_value)}.")
    if inner_class is not None:
        check_inner(arg_name, arg_value, inner_class)
    return arg_value


def check_inner(arg_name, arg_value, inner_class):
    """Checks the items of a list, or the keys of a dictionary."""
    for item in arg_value:
        if not isinstance(item, inner_class):
            raise TypeError(f"{arg_name} inner type only support {[inner_class]}, but got {type(item)}.")


def check_dict(arg_name, arg_value, k_class, v_class, v_inner_class=None):
    """Checks keys, values, and the values' items."""
    for what, items, wanted in [("key", arg_value.keys(), k_class), ("value", arg_value.values(), v_class)]:
        for item in items:
            if not isinstance(item, wanted):
                raise TypeError(f"{arg_name} dict {what} only support {wanted}, but got {type(item)}.")
    if v_inner_class is not None:
        for value in arg_value.values():
            check_inner("dict value", value, v_inner_class)


def _integer(name, first, last):
    def check(arg_name, arg_value):
        check_isinstance(arg_name, arg_value, [int], allow_none=False)
        if not first <= arg_value <= last:
            raise ValueError(f"{arg_name}'s value is out of range,{arg_value} is not a {name} value.")

    check.__name__ = f"check_{name}"
    check.__doc__ = f"Checks that a value is an integer from {first} to {last}."
    return check


check_uint8 = _integer("uint8", 0, 2**8 - 1)
check_uint16 = _integer("uint16", 0, 2**16 - 1)
check_uint32 = _integer("uint32", 0, 2**32 - 1)
check_uint64 = _integer("uint64", 0, 2**64 - 1)
check_int32 = _integer("int32", -(2**31), 2**31 - 1)
check_int64 = _integer("int64", -(2**63), 2**63 - 1)


def check_list_int32(arg_name, arg_value):
    for value in arg_value:
        check_int32(arg_name, value)


def check_list_int64(arg_name, arg_value):
    for value in arg_value:
        check_int64(arg_name, value)


def check_list_uint64(arg_name, arg_value):
    for value in arg_value:
        check_uint64(arg_name, value)


def check_positive_or_set_default(arg_name, arg_value, default=-1):
    """The value, which is not negative, or the default for None."""
    if arg_value is None:
        return default
    check_int64(arg_name, arg_value)
    if arg_value < 0:
        raise ValueError(f"{arg_name}'s value:{arg_value} is invalid, should be >= 0")
    return arg_value
