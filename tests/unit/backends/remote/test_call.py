"""A form, read back by a parser that is not ours."""

import io

from hypothesis import given
from hypothesis import strategies as st
from python_multipart import FormParser

from backends.remote.call import File, form_call


def parsed(call) -> tuple[dict[str, list[bytes]], list[tuple[str, bytes]]]:
    """Fields by name, and files by the name they go by."""
    fields: dict[str, list[bytes]] = {}
    files: list[tuple[str, bytes]] = []

    def on_field(field) -> None:
        fields.setdefault(field.field_name.decode(), []).append(field.value or b"")

    def on_file(file) -> None:
        file.file_object.seek(0)
        files.append((file.file_name.decode(), file.file_object.read()))

    boundary = call.content_type.partition("boundary=")[2]
    parser = FormParser("multipart/form-data", on_field, on_file, boundary=boundary)
    source = io.BytesIO(call.body)
    while chunk := source.read(4096):
        parser.write(chunk)
    parser.finalize()
    return fields, files


@given(st.binary(max_size=300), st.text(max_size=30))
def test_a_form_holds_its_fields_and_its_file(content, value):
    """Whatever bytes and letters they are of; a name may come twice."""
    call = form_call("/p", [("a", value), ("b[]", "1"), ("b[]", "2")], File(content, "audio.wav", "audio/wav"))
    fields, files = parsed(call)

    assert {"a": [value.encode("utf-8", "replace")], "b[]": [b"1", b"2"]} == fields
    assert [("audio.wav", content)] == files


def test_no_two_forms_share_a_boundary():
    """Else a file could be made to end its part."""
    one, other = (form_call("/p", [], File(b"", "a", "audio/wav")).content_type for _ in range(2))

    assert one != other
