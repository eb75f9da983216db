"""Names what in a document would break a client that was generated from an earlier one.

    python3 breaking.py RELEASED NOW

Fails when there is such a change, unless the version of the document says so (SemVer: another major version, or before 1.0 another minor one).
"""

import json
import sys

# A request is narrowed by a higher one of these,
LOWER_BOUNDS = ("minimum", "minLength", "minItems")
# by a lower one of these,
UPPER_BOUNDS = ("maximum", "maxLength", "maxItems")
# and by any other one of these.
FORMS = ("pattern", "multipleOf", "uniqueItems")


def breaking_changes(released, now):
    """Each as where it stands and what it is."""
    return [f"{where}: {what}" for where, what in Comparison(released, now).operations()]


class Comparison:
    def __init__(self, released, now):
        self.released = released
        self.now = now

    def operations(self):
        for path, item in self.released["paths"].items():
            for method, before in item.items():
                where = f"{method.upper()} {path}"
                after = self.now["paths"].get(path, {}).get(method)
                if after is None:
                    yield where, "operation removed"
                    continue
                if before["operationId"] != after["operationId"]:
                    yield where, f"operationId changed from {before['operationId']} to {after['operationId']}"
                yield from self.parameters(where, before, after)
                yield from self.request_body(f"{where} request", before, after)
                yield from self.responses(where, before["responses"], after["responses"])

    def parameters(self, where, before, after):
        def by_name(operation):
            return {(one["in"], one["name"]): one for one in operation.get("parameters", [])}

        before, after = by_name(before), by_name(after)
        for key in before | after:
            place = f"{where} {key[0]} parameter {key[1]}"
            if key not in after:
                yield place, "parameter removed"
            elif key not in before:
                if after[key].get("required"):
                    yield place, "new required parameter"
            else:
                if after[key].get("required") and not before[key].get("required"):
                    yield place, "parameter made required"
                yield from self.sent(place, before[key]["schema"], after[key]["schema"])

    def request_body(self, where, before, after):
        before, after = before.get("requestBody"), after.get("requestBody")
        if after and after.get("required") and not (before or {}).get("required"):
            yield where, "body made required"
        if before and not after:
            yield where, "body removed"
        if before and after:
            yield from self.contents(where, before, after, self.sent)

    def responses(self, where, before, after):
        for status, response in before.items():
            if status not in after:
                yield f"{where} {status}", "status removed"
                continue
            for name in response.get("headers", {}):
                if name not in after[status].get("headers", {}):
                    yield f"{where} {status}", f"header {name} removed"
            yield from self.contents(f"{where} {status}", response, after[status], self.received)
        for status in after:
            if status.startswith("2") and status not in before:
                yield f"{where} {status}", "new status of success"

    def contents(self, where, before, after, compare):
        before, after = before.get("content", {}), after.get("content", {})
        for media_type, content in before.items():
            if media_type not in after:
                yield where, f"{media_type} removed"
            else:
                yield from compare(where, content["schema"], after[media_type]["schema"])

    def sent(self, where, before, after, seen=()):
        """Of what clients send: what was taken must still be taken."""
        before, after = resolved(self.released, before), resolved(self.now, after)
        yield from kinds(where, before, after)
        old, new = before.get("enum"), after.get("enum")
        if new is not None:
            gone = [value for value in old or [] if value not in new]
            if old is None:
                yield where, "narrowed to an enum"
            elif gone:
                yield where, f"enum value removed: {', '.join(map(str, gone))}"
        for bounds, is_narrower in ((LOWER_BOUNDS, int.__gt__), (UPPER_BOUNDS, int.__lt__)):
            for bound in bounds:
                if bound in after and (bound not in before or is_narrower(int(after[bound]), int(before[bound]))):
                    yield where, f"{bound} narrowed from {before.get(bound, 'none')} to {after[bound]}"
        for form in FORMS:
            if form in after and after[form] != before.get(form):
                yield where, f"{form} changed from {before.get(form, 'none')} to {after[form]}"
        for name in after.get("required", []):
            if name not in before.get("required", []):
                known = name in before.get("properties", {})
                yield f"{where}.{name}", "property made required" if known else "new required property"
        # Unknown fields of requests are refused.
        yield from self.properties(where, before, after, self.sent, seen)

    def received(self, where, before, after, seen=()):
        """Of what clients receive: what was promised must still be promised, and nothing come that is not expected."""
        before, after = resolved(self.released, before), resolved(self.now, after)
        yield from kinds(where, before, after)
        old, new = before.get("enum"), after.get("enum")
        if old is not None:
            if new is None:
                yield where, "enum opened to any value"
            for value in new or []:
                if value not in old:
                    yield where, f"enum value added: {value}"
        for name in before.get("required", []):
            if name not in after.get("required", []) and name in after.get("properties", {}):
                yield f"{where}.{name}", "property no longer always there"
        yield from self.properties(where, before, after, self.received, seen)

    def properties(self, where, before, after, compare, seen):
        # A schema that holds itself is compared once.
        if id(before) in seen:
            return
        seen = (*seen, id(before))
        for name, schema in before.get("properties", {}).items():
            if name not in after.get("properties", {}):
                yield f"{where}.{name}", "property removed"
            else:
                yield from compare(f"{where}.{name}", schema, after["properties"][name], seen)
        for inner, suffix in (("items", "[]"), ("additionalProperties", "{}")):
            if isinstance(before.get(inner), dict) and isinstance(after.get(inner), dict):
                yield from compare(where + suffix, before[inner], after[inner], seen)


def kinds(where, before, after):
    for word in ("type", "format"):
        if before.get(word) != after.get(word):
            yield where, f"{word} changed from {before.get(word, 'none')} to {after.get(word, 'none')}"


def resolved(document, schema):
    """The schema that this one names; of an `allOf` the one with the type, the rest being words about it."""
    while True:
        if "allOf" in schema:
            [schema] = schema["allOf"]
        elif "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].removeprefix("#/components/schemas/")]
        else:
            return schema


def may_break(released, now):
    """Whether the versions say that clients have to be generated anew."""

    def line(document):
        major, minor, _ = document["info"]["version"].split("-")[0].split(".")
        return (int(major), int(minor) if major == "0" else 0)

    return line(now) > line(released)


def main(released, now):
    with open(released) as before, open(now) as after:
        released, now = json.load(before), json.load(after)
    changes = breaking_changes(released, now)
    for change in changes:
        print(change)
    if not changes:
        print(f"nothing breaks clients of {released['info']['version']}")
        return 0
    if may_break(released, now):
        print(f"breaks clients of {released['info']['version']}, as version {now['info']['version']} says")
        return 0
    print(f"{len(changes)} changes break clients of {released['info']['version']}; see CONTRIBUTING.md")
    return 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
