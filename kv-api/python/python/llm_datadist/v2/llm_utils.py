"""What goes between this package and the driver."""

from llm_datadist.status import raise_if_false, raise_if_true
from llm_datadist.utils.utils import check_isinstance, check_uint32

_INVALID_ID = 2**64 - 1


def is_invalid_id(identity):
    """Whether a request or prefix is the absence of one."""
    return identity < 0 or identity == _INVALID_ID


def is_valid_id(identity):
    return not is_invalid_id(identity)


def parse_listen_ip_info(listen_ip_info):
    """Address and port of "ip:port"."""
    check_isinstance("listen_ip_info", listen_ip_info, [str])
    ip, separator, port = listen_ip_info.rpartition(":")
    raise_if_false(
        bool(separator) and port.isdigit(),
        f'llm.listenIpInfo "{listen_ip_info}" is invalid, format should be "ip:port"',
    )
    return ip, int(port)


def pack_cache_desc(cache_desc, remote_accessible=True):
    """A description as the driver takes it."""
    return (
        cache_desc.num_tensors,
        cache_desc.data_type.value,
        list(cache_desc.shape),
        cache_desc.placement.value,
        cache_desc._is_blocks,
        remote_accessible,
    )


def pack_layers(src_layer_range, dst_layer_range, tensor_num_per_layer):
    """Layer ranges as the driver takes them; an empty one means all layers."""

    def packed(name, layers):
        check_isinstance(name, layers, range)
        if layers is None:
            return None
        raise_if_true(layers.step != 1, f"param check failed, {name} step must be 1.")
        if len(layers) == 0:
            return None
        raise_if_true(layers.start < 0, f"{name} is invalid, the start value:{layers.start} is < 0")
        check_uint32(name, layers.stop)
        return layers.start, layers.stop

    source = packed("src_layer_range", src_layer_range)
    return source, packed("dst_layer_range", dst_layer_range), tensor_num_per_layer
