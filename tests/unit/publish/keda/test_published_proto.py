"""What the code speaks is what KEDA's published file says, message by message and field by field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from controlplane.publish.keda import externalscaler_pb2 as pb

PROTO = Path(pb.__file__).with_name("externalscaler.proto").read_text(encoding="utf-8")
COMMENT = re.compile(r"//.*")
BLOCK = re.compile(r"(message|service) (\w+) \{(.*?)\n\}", re.DOTALL)
FIELD = re.compile(r"(repeated )?(map<\w+, \w+>|\w+) (\w+) = (\d+);")
RPC = re.compile(r"rpc (\w+)\((\w+)\) returns \((stream )?(\w+)\)")

SCALARS = {1: "double", 3: "int64", 8: "bool", 9: "string"}
"""By the number of the type in a descriptor (google/protobuf/descriptor.proto)."""


def blocks(kind: str) -> dict[str, str]:
    found = {name: body for of, name, body in BLOCK.findall(COMMENT.sub("", PROTO)) if of == kind}
    assert found
    return found


def kind_of(field: Any) -> str:
    entry = field.message_type
    if entry is None:
        return SCALARS[field.type]
    if entry.GetOptions().map_entry:
        return f"map<{kind_of(entry.fields_by_name['key'])}, {kind_of(entry.fields_by_name['value'])}>"
    return str(entry.name)


def test_messages_have_the_fields_of_the_published_file_with_their_numbers_and_types() -> None:
    published = {
        message: {
            (name, int(number), kind, bool(repeated))
            for repeated, kind, name, number in FIELD.findall(COMMENT.sub("", body))
        }
        for message, body in blocks("message").items()
    }
    spoken = {
        message.name: {
            (field.name, field.number, kind, field.is_repeated and not kind.startswith("map<"))
            for field in message.fields
            for kind in [kind_of(field)]
        }
        for message in pb.DESCRIPTOR.message_types_by_name.values()
    }
    assert spoken == published


def test_the_service_has_the_calls_of_the_published_file() -> None:
    ((service, body),) = blocks("service").items()
    published = {(call, asked, answered, bool(stream)) for call, asked, stream, answered in RPC.findall(body)}
    spoken = {
        (method.name, method.input_type.name, method.output_type.name, method.server_streaming)
        for method in pb.DESCRIPTOR.services_by_name[service].methods
    }
    assert spoken == published
    assert f"package {pb.DESCRIPTOR.package};" in PROTO
