"""Views as SQL, and how a database remembers from which query a view was made."""

from __future__ import annotations

import hashlib

from codered_spec.model.schema import VIEW_MARK, Schema, View
from codered_spec.sql import identifier, literal, tokenize

_BREAKS = frozenset("from join left full cross where group having order union window".split())


def query_digest(view: View) -> str:
    """Names a query: equal for equal texts, whatever the space between words."""
    words = " ".join(token.text for token in tokenize(view.query) if token.text.strip())
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def view_sql(schema: Schema, view: View) -> str:
    """``create view …`` and its comment.

    A server rewrites the query. The comment keeps the digests of the query and of what the server
    made of it, so that a reader can tell whether the view still is what the spec says.
    """
    name = identifier(schema.name, view.name)
    listed = ", ".join(map(identifier, view.select))
    readers = f"\ngrant select on {name} to {listed};" if listed else ""
    prose = literal(f"{view.comment}\n" if view.comment else "")
    return f"""create view {name}
  with (security_invoker = true)
as
{_broken(view.query)};
do $view$
declare
  path text := current_setting('search_path');
begin
  perform set_config('search_path', '', true);
  execute format('comment on view {name.replace("%", "%%").replace("'", "''")} is %L', {prose}
    || {literal(f"{VIEW_MARK}{query_digest(view)} ")}
    || md5(pg_get_viewdef({literal(name)}::regclass)));
  perform set_config('search_path', path, true);
end
$view$;{readers}"""


def _broken(query: str) -> str:
    """The query with a line for each of its clauses."""
    parts: list[str] = []
    depth = 0
    joined = False
    for token in tokenize(query.strip()):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        word = token.text.lower() if token.kind == "word" else ""
        if depth == 0 and word in _BREAKS and not (word == "join" and joined):
            while parts and parts[-1].isspace():
                parts.pop()
            parts.append("\n")
        if word:
            joined = word in ("left", "full", "cross", "inner", "outer")
        parts.append(token.text)
    return "".join(parts)
