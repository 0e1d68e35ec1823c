"""`prepare`: inserts quantizers into a float network, by one pass over its torch.fx graph.

The network is brought to one spelling first (`normalise`). Rules:
 0. Branches (RepVGG, MobileOne) and averages or BatchNorms before a convolution (DDRNet) are fused to convolutions
    with a bias first, for good (`models.fusing`): the result's keys are those of the fused network.
 1. Convolution followed only by BatchNorm becomes one `QuantConv2d` call, `nn.Linear` one of `QuantLinear`; Dropout
    goes (the file has none), and so does the second prediction of deep supervision (a quantized network is trained on
    its outputs).
 2. A quantizer follows every input, every constant that is added or multiplied, and every convolution, addition,
    concatenation, average pooling and other PRODUCER of `quantization.operators` (after its activation, if it has one).
 3. A resize, maximum pooling or other MOVE shares the scale of its input (its values stay within the input's range);
    the last resizes, whose result only leaves the network, stay float.
 4. All inputs of a concatenation share its scale, so that the integer file copies bytes there. Concatenations that
    have an input in common share one scale all together.
 5. Anything else is refused: no integer kernel is known to give it exactly.

Other key names stay the same; quantizers are added as `ranges.<name of the tensor>`.
"""

from __future__ import annotations

import copy
import difflib
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from torch import fx, nn

from edgeailite.errors import UsageError, option
from edgeailite.modelcard import input_name
from edgeailite.models.fusing import fuse
from edgeailite.quantization.graph import (
    ACTIVATIONS,
    activation_limits,
    is_addition,
    is_concatenation,
    is_constant,
    is_input,
    is_interpolation,
    is_module,
    is_nearest,
    is_resize,
    leaves_network,
    merge_hard_swish,
    merge_inputs,
    named_outputs,
    of_sizes,
    readers,
    trace,
    unused_name,
)
from edgeailite.quantization.grids import ActivationGrid, WeightGrid
from edgeailite.quantization.modules import INTEGER_BITS, ActivationQuantizer, ImpliedReLU, QuantConv2d, QuantLinear
from edgeailite.quantization.normalise import normalise
from edgeailite.quantization.observers import DEFAULT_OBSERVER, OBSERVERS
from edgeailite.quantization.operators import FLOATS, MOVES, NEVER_NEGATIVE, PRODUCERS, FloatPart, Multiply, Unchanged
from edgeailite.quantization.pooling import pool_size
from edgeailite.quantization.schemes import DEFAULT_SCHEME, EVERYTHING_AS_THE_SCHEME, Plan, Scheme, get_scheme
from edgeailite.quantization.spellings import called
from edgeailite.quantization.tie_free import TieFreeResize
from edgeailite.quantization.tie_free_graph import check_tie_free, connect, replace_resizes
from edgeailite.untrusted import shown

BN_TENSORS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
BEFORE_BN = 2  # arguments of a convolution's node before those of its BatchNorm: input, scale of the input
CONSTANTS = {"percentile": 100.0, "observer": "minmax"}  # how the range of a constant is found
CLAMPED = (*ACTIVATIONS, *NEVER_NEGATIVE)
SAME_SIGN = (nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.LeakyReLU, nn.PReLU, nn.Hardswish, nn.SiLU)  # at values from 0 on
IN_FLOAT = "export the network in float"
BILINEAR_HINT = 'build the network with upsampling="bilinear", or export it in float'


@dataclass
class _Group:
    """Tensors that share a scale: (node, non-negative or None if its range follows from the others)."""

    sites: list[tuple[fx.Node, bool | None]] = field(default_factory=list)


def prepare(
    model: nn.Module,
    scheme: str = DEFAULT_SCHEME,
    *,
    plan: Plan = EVERYTHING_AS_THE_SCHEME,
    percentile: float = 99.99,
    observer: str = DEFAULT_OBSERVER,
    exact_resizes: bool = True,
    float_parts: bool = False,
) -> fx.GraphModule:
    """Copy `model` and insert quantizers: same call, same state-dict names plus `ranges.*`; float until calibrated.

    `plan` gives single layers another number of bits than the scheme. `observer` names the row of OBSERVERS that
    chooses ranges; `percentile` (per cent) is the share of values that the percentile observers keep. `exact_resizes`
    gives resized tensors scales with which every CPU resizes alike (`grids`); False is for checkpoints made without.
    `float_parts` leaves operators without an integer form (`operators.FLOATS`: normalisation over channels, attention)
    in float between quantizers; a proof then names them.
    Raises UsageError for an unknown scheme or observer, for a plan that names a layer the network lacks, for a
    network that torch.fx cannot follow, and for an operator without an integer form; the message names the operator
    and what to change.
    """
    record = get_scheme(scheme)
    if observer not in OBSERVERS:
        raise UsageError(
            f"unknown observer {observer!r}",
            fix=f"known: {', '.join(OBSERVERS)}",
            code="unknown-name",
            value=observer,
            known=tuple(OBSERVERS),
        )
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            _refuse_layer(name, module)
    graph_module = trace(fuse(copy.deepcopy(model).eval()))
    normalise(graph_module)
    merge_inputs(graph_module)
    merge_hard_swish(graph_module)
    if record.tie_free:
        check_tie_free(graph_module, plan, scheme)
        replace_resizes(graph_module, scheme)
    graph_module.train(model.training)
    _fold_batch_norms(graph_module, record, plan)
    for node in graph_module.graph.nodes:
        _refuse(node, float_parts=float_parts)
    graph_module.add_module("ranges", nn.Module())
    for group in _groups(graph_module):
        first = group.sites[0][0]
        name = unused_name(_tensor_name(first), partial(hasattr, graph_module.ranges))  # a range for each call
        grid = ActivationGrid(record, plan.activations.get(name, 8), exact_resizes and _is_resized(group))
        how = CONSTANTS if is_constant(first) else {"percentile": percentile, "observer": observer}
        quantizer = ActivationQuantizer(grid, _observed(group), **how)
        _insert_quantizer(graph_module, group, f"ranges.{name}", quantizer)
    _pass_input_scales(graph_module)
    _check_plan(graph_module, plan)
    if record.tie_free:
        connect(graph_module)
    graph_module.graph.lint()
    graph_module.recompile()
    return graph_module


def scheme_of(model: fx.GraphModule) -> Scheme:
    """Return the scheme of a prepared network."""
    return next(module.grid.scheme for module in model.modules() if isinstance(module, ActivationQuantizer))


def wide_parts(model: fx.GraphModule) -> list[str]:
    """List convolutions and ranges to which a plan gave 16 bits, which no integer kernel computes."""
    quantizers = (ActivationQuantizer, QuantConv2d)
    return [n for n, m in model.named_modules() if isinstance(m, quantizers) and m.grid.bits > INTEGER_BITS]


def normalised_by(model: fx.GraphModule, norms: Sequence[nn.Module]) -> list[QuantConv2d]:
    """The convolutions of a prepared network into which these BatchNorm modules are folded (rule 1)."""
    found = []
    for node in model.graph.nodes:
        if is_module(node, QuantConv2d) and len(node.args) > BEFORE_BN:
            bn = model.get_submodule(node.args[BEFORE_BN].target.rpartition(".")[0])
            if any(bn is norm for norm in norms):
                found.append(model.get_submodule(node.target))
    return found


def _fold_batch_norms(graph_module: fx.GraphModule, scheme: Scheme, plan: Plan) -> None:
    """Rule 1: the convolution's node takes over; the BatchNorm's tensors become its arguments."""
    graph = graph_module.graph
    for node in list(graph.nodes):
        if not is_module(node, (nn.Conv2d, nn.Linear)):
            continue
        layer, bn = graph_module.get_submodule(node.target), None
        users = list(node.users)
        if len(users) == 1 and is_module(users[0], nn.BatchNorm2d) and isinstance(layer, nn.Conv2d):
            bn = graph_module.get_submodule(users[0].target)
            with graph.inserting_before(node):
                tensors = [graph.get_attr(f"{users[0].target}.{name}") for name in BN_TENSORS]
            node.args = (*node.args, *tensors)
            users[0].replace_all_uses_with(node)
            graph.erase_node(users[0])
        grid = WeightGrid(scheme, plan.weights.get(str(node.target), scheme.weight_bits))
        made = QuantLinear.from_linear(layer, grid) if isinstance(layer, nn.Linear) else None
        graph_module.set_submodule(node.target, made or QuantConv2d.from_conv(layer, bn, grid))


def _refuse_layer(path: str, layer: nn.Module) -> None:
    """Raise UsageError for a convolution or linear layer whose weight is computed or whose padding is not zeros."""
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        problem = f"padding_mode {layer.padding_mode!r} cannot be quantized, only 'zeros'"
        raise UsageError(problem, path=path, code="no-integer-form")
    if "weight" not in layer._parameters and not isinstance(layer, Unchanged):
        problem = "its weight is computed from other tensors (weight_norm, a parametrization)"
        fix = "put the product into the weight first: remove_parametrizations"
        raise UsageError(problem, path=path, fix=fix, code="no-integer-form")


def float_parts_of(model: fx.GraphModule) -> list[str]:
    """List the operators of a prepared or converted network that stay in float (`operators.FLOATS`)."""
    return [str(node.target) for node in model.graph.nodes if is_module(node, FLOATS)]


def _refuse(node: fx.Node, *, float_parts: bool) -> None:
    """Rule 5. Raises UsageError."""
    if node.op == "call_module":
        module = node.graph.owning_module.get_submodule(str(node.target))
        if not (float_parts and isinstance(module, FLOATS)):
            _refuse_module(str(node.target), module)
    elif is_interpolation(node):
        if not is_nearest(node) and node.kwargs.get("mode") != "bilinear":
            raise UsageError(
                f"a resize with mode {node.kwargs.get('mode')!r} cannot be quantized, only bilinear and nearest",
                path=node.name,
                fix=f"build the network with a bilinear resize, or {IN_FLOAT}",
                code="no-integer-form",
            )
    elif node.op in ("call_function", "call_method"):
        known = is_addition(node) or is_concatenation(node) or is_input(node) or of_sizes(node)
        if not known:
            problem = f"{called(node)} cannot be quantized to int8 here"
            raise UsageError(problem, path=node.name, fix=IN_FLOAT, code="no-integer-form")
    elif node.op == "output":
        for name, value in named_outputs(node.args[0]).items():
            if not isinstance(value, fx.Node) or of_sizes(value):
                problem = "an output that is no tensor cannot be quantized"
                raise UsageError(problem, path=name, fix=IN_FLOAT, code="no-integer-form")


def _refuse_module(path: str, module: nn.Module) -> None:
    if getattr(module, "return_indices", False):
        raise UsageError(
            "a pooling that returns indices cannot be quantized", path=path, fix=IN_FLOAT, code="no-integer-form"
        )
    if isinstance(module, nn.AdaptiveAvgPool2d):
        pool_size(module)
    if isinstance(module, nn.AvgPool2d) and getattr(module, "divisor_override", None):
        problem = "an AvgPool2d with divisor_override cannot be quantized"
        raise UsageError(problem, path=path, fix="multiply its result instead", code="no-integer-form")
    known = (QuantConv2d, TieFreeResize, *ACTIVATIONS, *MOVES, *PRODUCERS)
    if isinstance(module, FLOATS) or not isinstance(module, known):
        hint = f"leave it in float: {option('float_parts')} True" if isinstance(module, FLOATS) else IN_FLOAT
        hint = BILINEAR_HINT if isinstance(module, nn.ConvTranspose2d) else hint
        kind = module.extra_repr() if isinstance(module, FloatPart) else type(module).__name__
        raise UsageError(f"{kind} cannot be quantized to int8 here", path=path, fix=hint, code="no-integer-form")


def _groups(graph_module: fx.GraphModule) -> list[_Group]:
    """Rules 2 to 4: which nodes get a quantizer, and which share one."""
    group_of: dict[fx.Node, _Group] = {}
    for node in graph_module.graph.nodes:
        if is_input(node) or is_constant(node):
            group_of[node] = _Group([(node, False)])
        elif _ends_block(node):
            group_of[node] = _Group([(node, _nonnegative(node))])
        elif is_concatenation(node):
            group_of[node] = _Group([(node, None)])
            for source in node.args[0]:
                _merge(group_of, node, source)
        elif is_module(node, (*MOVES, TieFreeResize)) or (is_interpolation(node) and not leaves_network(node)):
            group_of[node] = _Group([(node, None)])
            _merge(group_of, node, node.args[0])
    return list({id(group): group for group in group_of.values()}.values())


def _merge(group_of: dict[fx.Node, _Group], node: fx.Node, source: fx.Node) -> None:
    into, other = group_of[source], group_of[node]
    if into is other:
        return
    into.sites += other.sites
    for member, _ in other.sites:
        group_of[member] = into


def _ends_block(node: fx.Node) -> bool:
    """A convolution, addition, other producer or activation whose value is not handed to its own activation alone."""
    produces = is_module(node, (QuantConv2d, *PRODUCERS, *ACTIVATIONS)) or is_addition(node)
    users = readers(node)
    return produces and not (len(users) == 1 and is_module(users[0], ACTIVATIONS))


def _nonnegative(node: fx.Node) -> bool:
    if is_module(node, (*SAME_SIGN, Multiply)):
        sources = [source for source in node.args if isinstance(source, fx.Node)]
        return all(is_module(source, CLAMPED) and _nonnegative(source) for source in sources)
    if is_module(node, NEVER_NEGATIVE):
        return True
    module = node.graph.owning_module.get_submodule(str(node.target)) if is_module(node, ACTIVATIONS) else None
    return module is not None and activation_limits(module)[0] >= 0


def _check_plan(graph_module: fx.GraphModule, plan: Plan) -> None:
    convolutions = [name for name, module in graph_module.named_modules() if isinstance(module, QuantConv2d)]
    ranges = [name for name, _ in graph_module.ranges.named_children()]
    for what, given, known in (("weights", plan.weights, convolutions), ("activations", plan.activations, ranges)):
        for name in given:
            if name not in known:
                near = ", ".join(difflib.get_close_matches(name, known)) or ", ".join(known[:3]) + ", ..."
                raise UsageError(
                    f"plan: {what} name {shown(name)}, which this network lacks", fix=f"near are: {near}", code="no-fit"
                )


def _is_resized(group: _Group) -> bool:
    return any(is_resize(user) for node, _ in group.sites for user in readers(node))


def _observed(group: _Group) -> list[bool]:
    return [nonnegative for _, nonnegative in group.sites if nonnegative is not None]


def _insert_quantizer(graph_module: fx.GraphModule, group: _Group, name: str, quantizer: ActivationQuantizer) -> None:
    graph = graph_module.graph
    graph_module.add_submodule(name, quantizer)
    _imply_relu(graph_module, group, quantizer)
    site = 0
    for node, nonnegative in group.sites:
        with graph.inserting_after(node):
            call = graph.call_module(name, (node, -1 if nonnegative is None else site))
        site += nonnegative is not None
        node.replace_all_uses_with(call, delete_user_cb=lambda user, own=call: user is not own)


def _imply_relu(graph_module: fx.GraphModule, group: _Group, quantizer: ActivationQuantizer) -> None:
    """Every tensor of the group that is observed comes from a ReLU of its own: training leaves those to the codes."""
    nodes = [node for node, nonnegative in group.sites if nonnegative is not None]
    relus = [node for node in nodes if is_module(node, nn.ReLU)]
    quantizer.behind_relu = len(relus) == len(nodes)
    if quantizer.implies_relu:
        for node in relus:
            relu = graph_module.get_submodule(str(node.target))
            graph_module.set_submodule(str(node.target), ImpliedReLU(relu.inplace).train(relu.training))


def _tensor_name(node: fx.Node) -> str:
    if node.target is operator.getitem:
        return input_name(node.args[1])
    return str(node.target).replace(".", "_") if node.op in ("call_module", "get_attr") else node.name


def _pass_input_scales(graph_module: fx.GraphModule) -> None:
    """The bias is rounded at input scale x weight scale: hand each convolution the scale of its input."""
    graph = graph_module.graph
    for node in list(graph.nodes):
        if is_module(node, QuantConv2d):
            quantizer = node.args[0]
            bits = graph_module.get_submodule(quantizer.target).grid.bits
            graph_module.get_submodule(node.target).integer &= bits <= INTEGER_BITS
            with graph.inserting_before(node):
                scale = graph.get_attr(f"{quantizer.target}.scale")
            node.args = (quantizer, scale, *node.args[1:])
