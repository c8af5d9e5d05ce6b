"""
Who follows whom: nodes of a graph in a grid search
===================================================

Zachary's karate club: 34 members, the ties between them, and the side that each took
when the club split. A member's features are nothing but the member: all that is known
of somebody whose side is held out are the ties. Ids of members are `X`, so
cross-validation and a grid search split them as they split rows.

Sparse identity features stay sparse, and the graph is shared by all clones.
"""

# %%
# The graph, and who took which side
# ----------------------------------
import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from scipy import sparse
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import (
    GridSearchCV,
    RepeatedStratifiedKFold,
    cross_val_predict,
    cross_val_score,
)

from skattn import Graph, NodeClassifier, record_attention
from skattn.inspection import AttentionDisplay

FAST = os.environ.get("SKATTN_FAST") == "1"

club = nx.karate_club_graph()
sides = np.array([club.nodes[member]["club"] for member in club])
ties = np.array(club.edges)
identity = sparse.eye_array(len(club), dtype=np.float32)
graph = Graph.from_edges(ties, x=identity)
members = graph.nodes.reshape(-1, 1)
print(graph)

# %%
# A search over architectures and what training may see
# ------------------------------------------------------
# In inductive mode training sees only the members of the training folds and the ties
# among them. A held-out member's own feature was never trained then: whatever is
# predicted of it comes from its neighbours.
folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=1 if FAST else 2, random_state=0)
clf = NodeClassifier(
    "gat", graph=graph, max_epochs=20 if FAST else 80, lr=0.01, random_state=0
)
search = GridSearchCV(
    clf,
    {"architecture": ["gat", "gatv2"], "mode": ["transductive", "inductive"]},
    cv=folds,
).fit(members, sides)
table = search.cv_results_
for params, mean in zip(table["params"], table["mean_test_score"], strict=True):
    print(f"{params['architecture']:6} {params['mode']:13} accuracy {mean:.3f}")
chance = cross_val_score(DummyClassifier(), members, sides, cv=folds).mean()
print(f"largest class {chance:.3f}")

# %%
# Sides shuffled among the members: what a leak would show
# ---------------------------------------------------------
rng = np.random.default_rng(0)
shuffled = [
    cross_val_score(search.best_estimator_, members, rng.permutation(sides), cv=5)
    for _ in range(2 if FAST else 6)
]
print(f"accuracy with shuffled sides {np.mean(shuffled):.3f}")

# %%
# Whom the members attend to
# --------------------------
# The attention of the first layer, averaged over its heads, drawn as the darkness of
# ties; a member's own share (the self-loop) is left out. Circles and squares are the
# sides; a red rim marks members whom held-out predictions put on the wrong side.
found = cross_val_predict(search.best_estimator_, members, sides, cv=5)
record = record_attention(search.best_estimator_)[0]
weights = record.weights.mean(axis=1)[~record.self_loops]
source, target = record.edge_index[:, ~record.self_loops]

greys = ListedColormap(plt.colormaps["Greys"](np.linspace(0.15, 1, 256)))
shades = Normalize(0, weights.max())
figure, ax = plt.subplots(figsize=(7.5, 5.5), layout="constrained")
places = nx.spring_layout(club, seed=4)
directed = nx.DiGraph()
directed.add_nodes_from(club)
directed.add_weighted_edges_from(zip(source, target, weights, strict=True))
nx.draw_networkx_edges(
    directed,
    places,
    ax=ax,
    edge_color=[greys(shades(weight)) for *_, weight in directed.edges.data("weight")],
    connectionstyle="arc3,rad=0.12",
    arrowsize=7,
    node_size=260,
)
for side, marker, color in (("Mr. Hi", "o", "#0072b2"), ("Officer", "s", "#e69f00")):
    chosen = [int(member) for member in np.flatnonzero(sides == side)]
    nx.draw_networkx_nodes(
        club,
        places,
        nodelist=chosen,
        node_shape=marker,
        node_color=color,
        edgecolors=["red" if found[member] != side else "white" for member in chosen],
        linewidths=2,
        node_size=260,
        label=side,
        ax=ax,
    )
nx.draw_networkx_labels(club, places, font_size=8, font_color="white", ax=ax)
figure.colorbar(
    ScalarMappable(shades, greys), ax=ax, label="attention along the arrow", shrink=0.7
)
ax.legend(title="took the side of", loc="best", labelspacing=1.2)
wrong = int((found != sides).sum())
ax.set_title(f"Karate club: {len(sides) - wrong} of {len(sides)} held-out sides right")
ax.set_axis_off()
path = Path(__file__).with_name("plot_karate_club.png")
figure.savefig(path, dpi=150)
print(f"saved {path.name}")

# %%
# A member between the sides
# --------------------------
# Member 8 is tied to both leaders, 0 and 33, and took the side of 0. The arrows are as
# dark and thick as the attention of the last layer along them; the colour of the member
# is what it keeps for itself.
display = AttentionDisplay.from_estimator(
    search.best_estimator_, members, kind="graph", sample=8
)
path = Path(__file__).with_name("plot_karate_club_member.png")
display.figure_.savefig(path, dpi=150, bbox_inches="tight")
print(f"saved {path.name}")
