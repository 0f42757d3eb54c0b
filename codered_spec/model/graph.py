"""The graph of foreign keys: creation order, cycles, parents before children."""

from __future__ import annotations

from typing import TypeVar

from codered_spec.model.schema import ForeignKey, Schema, Table

Node = TypeVar("Node", str, int, tuple[int, int])


def creation_order(
    schema: Schema,
) -> tuple[tuple[Table, ...], tuple[tuple[str, ForeignKey], ...]]:
    """Tables such that referenced ones come first, and the keys that must wait until the end.

    Ties are broken by the order of the schema. Within a cycle the earliest table comes first, and
    its foreign keys to tables that do not exist yet are returned with their table's name, to be
    added when all tables stand. Linear in tables and foreign keys.
    """
    position = {table.name: i for i, table in enumerate(schema.tables)}
    by_name = {table.name: table for table in schema.tables}
    done: set[str] = set()
    open_: set[str] = set()
    ordered: list[Table] = []
    late: list[tuple[str, ForeignKey]] = []

    def parents(table: Table) -> list[str]:
        found = {k.table for k in table.foreign_keys if k.table in by_name}
        return sorted(found, key=position.__getitem__, reverse=True)

    for root in schema.tables:
        # depth first with an explicit stack: a chain of a thousand tables is no problem
        stack = [] if root.name in done else [(root, parents(root))]
        while stack:
            table, waiting = stack[-1]
            open_.add(table.name)
            while waiting and (waiting[-1] in done or waiting[-1] in open_):
                waiting.pop()
            if waiting:
                parent = by_name[waiting.pop()]
                stack.append((parent, parents(parent)))
                continue
            stack.pop()
            open_.discard(table.name)
            done.add(table.name)
            ordered.append(table)
            late += [
                (table.name, k)
                for k in table.foreign_keys
                if k.table in by_name and k.table not in done
            ]
    return tuple(ordered), tuple(late)


def required_cycles(schema: Schema) -> tuple[tuple[str, ...], ...]:
    """Groups of tables whose foreign keys form a cycle of NOT NULL columns.

    No first row can be inserted into such a group. A table that requires itself is a group of one.
    """
    edges: dict[str, set[str]] = {}
    names = {table.name for table in schema.tables}
    for table in schema.tables:
        required = {c.name for c in table.columns if not c.nullable}
        edges[table.name] = {
            fk.table
            for fk in table.foreign_keys
            if fk.table in names and set(fk.columns) <= required
        }
    return tuple(
        tuple(sorted(group))
        for group in strong_components(edges)
        if len(group) > 1 or group[0] in edges[group[0]]
    )


def strong_components(edges: dict[Node, set[Node]]) -> list[list[Node]]:
    """Tarjan's strongly connected components, iterative: from each node to those it leads to."""
    index: dict[Node, int] = {}
    low: dict[Node, int] = {}
    path: list[Node] = []
    on_path: set[Node] = set()
    found: list[list[Node]] = []
    for root in edges:
        if root in index:
            continue
        work = [(root, iter(sorted(edges[root])))]
        index[root] = low[root] = len(index)
        path.append(root)
        on_path.add(root)
        while work:
            node, children = work[-1]
            for child in children:
                if child not in index:
                    index[child] = low[child] = len(index)
                    path.append(child)
                    on_path.add(child)
                    work.append((child, iter(sorted(edges[child]))))
                    break
                if child in on_path:
                    low[node] = min(low[node], index[child])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group = [path.pop()]
                    while group[-1] != node:
                        group.append(path.pop())
                    on_path.difference_update(group)
                    found.append(group)
    return found
