"""Checks of modules for graphs: numbering, direction, layers, sparse features."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from skattn._architecture import Architecture
from skattn.nn import sparse_rows
from skattn.testing._build import TOLERANCE, ModuleCheck, build, distance, run
from skattn.testing._cases import GRAPHS, Case, Inputs
from skattn.testing._failure import Failure

_PROTOCOL = "layer(x, edge_index, edge_attr=None, n_targets=None)"


def checks_of(case: Case) -> Iterator[ModuleCheck]:
    """List the checks for graphs that apply to an input and a task.

    Parameters
    ----------
    case : Case
        Input and task.

    Yields
    ------
    check : callable
        Takes architecture and case.
    """
    if case.input not in GRAPHS:
        return
    yield check_permutation
    if "edge_attr" in case.consumes:
        yield check_edge_features
    if case.input == "nodes":
        yield check_direction
        yield check_sparse
        yield check_layers


def check_permutation(architecture: Architecture, case: Case) -> None:
    """Number the nodes in another way; of a batch of graphs, those of each graph."""
    module = build(architecture, case.typical, stir=True)
    inputs = case.inputs()
    n_nodes = len(inputs["x"])
    batch = inputs.get("batch", torch.zeros(n_nodes, dtype=torch.int64))
    order = (batch + 0.5 * torch.rand(n_nodes)).argsort()
    scores, permuted = run(module, inputs), run(module, _permuted(inputs, order))
    expected = scores[order] if case.input == "nodes" else scores
    if (largest := distance(permuted, expected)) > TOLERANCE:
        raise Failure(
            f"The scores change by {largest:.1e} when the same nodes are numbered in "
            "another way: nothing may depend on the position of a node in x or of an "
            "edge in edge_index, but on the edges and on batch only."
        )


def check_edge_features(architecture: Architecture, case: Case) -> None:
    """Change each feature of the edges."""
    module = build(architecture, case.typical, stir=True)
    inputs = case.inputs()
    scores = run(module, inputs)
    unused = []
    for column in range(case.typical.n_edge_features):
        edge_attr = inputs["edge_attr"].clone()
        edge_attr[:, column] += torch.randn(len(edge_attr))
        if distance(scores, run(module, {**inputs, "edge_attr": edge_attr})) == 0:
            unused.append(column)
    if unused:
        raise Failure(
            f"No score depends on the columns {unused} of edge_attr. Use them, for "
            "instance in the keys and values of an edge, or take 'edge_attr' out of "
            "consumes, and the estimator refuses graphs with edge features."
        )


def check_direction(architecture: Architecture, case: Case) -> None:
    """Change the features of the nodes from which no path leads to a node."""
    module = build(architecture, case.typical, stir=True)
    layers = _layers(module)
    n_nodes = 8 if layers is None else 2 * len(layers) + 6
    inputs = case.inputs(n=n_nodes, gaps=False)
    scores = run(module, inputs)
    hops = n_nodes if layers is None else len(layers)
    within = "" if layers is None else f" of at most {hops} edges (one for each layer)"
    for node in (0, n_nodes // 2, n_nodes - 1):
        near = torch.zeros(n_nodes, dtype=torch.bool)
        near[_neighbourhood(inputs["edge_index"], torch.tensor([node]), hops)[-1]] = (
            True
        )
        noise = 10 * torch.randn_like(inputs["x"])
        x = torch.where(near[:, None], inputs["x"], noise)
        changed = run(module, {**inputs, "x": x})
        if (largest := distance(scores[node], changed[node])) > TOLERANCE:
            raise Failure(
                f"The scores of a node change by {largest:.1e} with the features of "
                f"nodes from which no path{within} leads to it: let messages go from "
                "edge_index[0] to edge_index[1] only, and let no norm, mean or global "
                "attention mix other nodes."
            )


def check_sparse(architecture: Architecture, case: Case) -> None:
    """Give the features of the nodes as a sparse matrix."""
    module = build(architecture, case.typical, stir=True)
    inputs = case.inputs()
    x = inputs["x"].clamp(min=0)
    x[1] = 0
    dense, sparse = {**inputs, "x": x}, {**inputs, "x": _sparse(x)}
    part: dict[str, Any] = {**_part(inputs, 3), "n_targets": 3}
    cut: Tensor | None = None
    if layers := _layers(module):
        with suppress(Failure):  # another check tells
            cut = _called(layers[0], 0, {**part, "x": x})
    try:
        scores = run(module, sparse)
        run(module.train(), sparse)
        module.eval()
        largest = distance(scores, run(module, dense))
        if layers is not None and cut is not None:
            sparse_cut = run(layers[0], {**part, "x": _sparse(x)})
            largest = max(largest, distance(sparse_cut, cut))
    except Failure:
        raise
    except Exception as error:
        raise Failure(
            f"A sparse x (torch.sparse_csr) raises {type(error).__name__}: {error}. "
            "Let x meet skattn.nn.NodeLinear first, which makes it dense; before that, "
            "drop features with skattn.nn.node_dropout, and take the first nodes with "
            "skattn.nn.first_nodes."
        ) from error
    if largest > TOLERANCE:
        raise Failure(
            f"The scores of sparse features differ by {largest:.1e} from those of the "
            "same features as a dense tensor: both mean the same."
        )


def check_layers(architecture: Architecture, case: Case) -> None:
    """Run the layers one after another, over all nodes and over what some depend on."""
    module = build(architecture, case.typical, stir=True)
    if not hasattr(module, "layers"):
        return
    layers = _layers(module)
    if layers is None:
        raise Failure(
            f"The module's layers are {type(module.layers).__name__}: make them a "
            f"torch.nn.ModuleList of {_PROTOCOL}, or give them another name."
        )
    inputs = case.inputs(n=2 * len(layers) + 6)
    scores = run(module, inputs)
    x = inputs["x"]
    for number, layer in enumerate(layers):
        x = _called(layer, number, {**inputs, "x": x})
    if (largest := distance(scores, x)) > TOLERANCE:
        raise Failure(
            "Calling the module's layers one after another gives scores of shape "
            f"{tuple(x.shape)} that differ by {largest:.1e} from those of forward, of "
            f"shape {tuple(scores.shape)}. Estimators train sampled neighbourhoods and "
            "predict layer by layer: put dropout, activations, norms and residuals "
            "into the layers, or give layers another name."
        )
    seeds = torch.tensor([len(x) // 2, 0, len(x) - 2])
    some = _layer_by_layer(layers, inputs, seeds)
    if (largest := distance(scores[seeds], some)) > TOLERANCE:
        raise Failure(
            f"Run over the neighbourhood of some nodes alone, with n_targets, layers "
            f"give these nodes scores that differ by {largest:.1e} from those of the "
            "whole graph. The first n_targets nodes of x are the targets, the others "
            "are sources only: count in-edges, not edges out of a node, and keep "
            "nothing from one call to the next."
        )


def _layers(module: nn.Module) -> nn.ModuleList | None:
    layers = getattr(module, "layers", None)
    return layers if isinstance(layers, nn.ModuleList) and len(layers) else None


def _called(layer: nn.Module, number: int, inputs: Any) -> Tensor:
    """Call a layer by the names of its arguments, as the engine does."""
    try:
        h = run(layer, inputs)
    except Failure:
        raise
    except Exception as error:
        raise Failure(
            f"layers[{number}] raised {type(error).__name__}: {error}. Layers are "
            f"called as {_PROTOCOL}, the first n_targets nodes of x being the targets."
        ) from error
    expected = inputs.get("n_targets", len(inputs["x"]))
    if h.dim() != 2 or len(h) != expected:
        raise Failure(
            f"layers[{number}] returned a tensor of shape {tuple(h.shape)} for "
            f"{expected} targets: it returns (n_targets, width), one row for each of "
            "the first n_targets nodes of x."
        )
    return h


def _layer_by_layer(layers: nn.ModuleList, inputs: Inputs, seeds: Tensor) -> Tensor:
    """Score some nodes from nothing but what they depend on."""
    target = inputs["edge_index"][1]
    needed = _neighbourhood(inputs["edge_index"], seeds, len(layers))
    h = inputs["x"][needed[-1]]
    for number, layer in enumerate(layers):
        sources, targets = needed[len(layers) - number], needed[-2 - number]
        place = torch.full((len(inputs["x"]),), -1)
        place[sources] = torch.arange(len(sources))
        edges = torch.isin(target, targets).nonzero()[:, 0]
        edges = edges[place[target[edges]].argsort(stable=True)]
        given: dict[str, Any] = {
            "x": h,
            "edge_index": place[inputs["edge_index"][:, edges]],
            "n_targets": len(targets),
        }
        if "edge_attr" in inputs:
            given["edge_attr"] = inputs["edge_attr"][edges]
        h = _called(layer, number, given)
    return h


def _neighbourhood(edge_index: Tensor, seeds: Tensor, hops: int) -> list[Tensor]:
    """List the nodes from which 0, 1, ... edges lead to the seeds; old ones first."""
    reached = [seeds]
    for _ in range(hops):
        into = edge_index[0, torch.isin(edge_index[1], reached[-1])].unique()
        new = into[~torch.isin(into, reached[-1])]
        reached.append(torch.cat([reached[-1], new]))
    return reached


def _permuted(inputs: Inputs, order: Tensor) -> Inputs:
    """Put the nodes in another order, and sort the edges by their new targets."""
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    edge_index = place[inputs["edge_index"]]
    edges = (edge_index[1] * len(order) + edge_index[0]).argsort()
    permuted = {**inputs, "x": inputs["x"][order], "edge_index": edge_index[:, edges]}
    if "edge_attr" in inputs:
        permuted["edge_attr"] = inputs["edge_attr"][edges]
    return permuted


def _part(inputs: Inputs, n_targets: int) -> Inputs:
    """Leave the edges to the first nodes."""
    kept = inputs["edge_index"][1] < n_targets
    part = {"edge_index": inputs["edge_index"][:, kept]}
    if "edge_attr" in inputs:
        part["edge_attr"] = inputs["edge_attr"][kept]
    return part


def _sparse(x: Tensor) -> Tensor:
    kept = x != 0
    indptr = torch.cat([torch.zeros(1, dtype=torch.int64), kept.sum(dim=1).cumsum(0)])
    return sparse_rows(indptr, kept.nonzero()[:, 1], x[kept], (len(x), x.shape[1]))
