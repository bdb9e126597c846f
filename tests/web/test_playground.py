"""The playground: texts compared, intents defined and tried, photos classified, recordings written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import MINILM
from tests.e2e.media import EFFICIENTNET, PHOTO, SPEECH, WHISPER, base64_of

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.web.conftest import Visit

HOSTILE = '<img src=x onerror="document.title=1">'
WORDS = "what your country can do for you"
KENNEDY = Path(__file__).parents[1] / "data" / "jfk.ogg"  # John F. Kennedy, 20 January 1961
PLANE = "(vectors) => import('/ui/pages/playground/vectors.js').then(({plane}) => plane(vectors))"
COSINES = (
    "([a, b, none]) => import('/ui/pages/playground/vectors.js').then(({cosine}) => [cosine(a, b), cosine(a, none)])"
)
DROPPED = """([base64, name, type]) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name, {type}));
    return data;
}"""


@pytest.fixture(scope="session")
def flower() -> bytes:
    """A photo of a flower, which the model takes for a daisy."""
    datasets = pytest.importorskip("sklearn.datasets")
    return (Path(datasets.__file__).parent / "images" / "flower.jpg").read_bytes()


def panel(page: Page, name: str) -> Locator:
    return page.get_by_role("tabpanel", name=name)


def drop(place: Locator, label: str, content: bytes, name: str, kind: str) -> None:
    """Let a file fall where this label is."""
    data = place.page.evaluate_handle(DROPPED, [base64_of(content), name, kind])
    place.get_by_text(label).dispatch_event("drop", {"dataTransfer": data})


def test_texts_are_compared(visit: Visit) -> None:
    """Those that mean the same are more alike than others; the figures and the drawing are there."""
    page = visit.open("playground")
    place = panel(page, "Embeddings")
    place.get_by_role("textbox", name="Texts").fill(f"The cat sleeps\nA kitten naps\nInterest rates rise\n{HOSTILE}")
    place.get_by_role("combobox", name="Model").select_option(MINILM)
    place.get_by_role("button", name="Embed").click()
    table = place.get_by_role("table", name="Cosine similarity")
    expect(table).to_be_visible()
    rows = [row.get_by_role("cell").all_inner_texts() for row in table.get_by_role("row").all()[1:]]
    alike = np.array([[cell.replace("\N{MINUS SIGN}", "-") for cell in row] for row in rows], dtype=float)

    assert (4, 4) == alike.shape
    assert [1.0] * 4 == list(alike.diagonal())
    assert alike[0, 1] > alike[0, 2] + 0.2
    expect(table.get_by_role("rowheader", name=HOSTILE)).to_be_visible()
    expect(place.get_by_role("img", name="Projection of the texts")).to_contain_text("1. The cat sleeps")
    why = place.get_by_role("link", name="why?").get_attribute("href") or ""
    assert "feature-extraction" == visit.server.get(f"/v1/decisions/{why.removeprefix('#/decisions/')}").body["task"]
    visit.picture("playground-embeddings")
    assert [] == visit.unfit()
    expect(page).to_have_title("Playground · Nearfar")


@pytest.mark.slow
def test_the_plane_is_that_of_the_principal_components(visit: Visit) -> None:
    """As numpy has it, up to the directions of the axes; equal vectors have none, and no vector no angle."""
    page = visit.open("playground")
    vectors = np.random.default_rng(7).normal(size=(9, 40)) * np.linspace(3, 0.1, 40)
    made = page.evaluate(PLANE, vectors.tolist())
    left, values, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    wanted = left[:, :2] * values[:2]
    points = np.array(made["points"])

    assert np.allclose(np.abs(wanted), np.abs(points), atol=1e-6)
    assert np.allclose(values[:2] ** 2 / (values**2).sum(), made["shares"])
    assert {"points": [[0, 0]] * 3, "shares": None} == page.evaluate(PLANE, [[1, 2]] * 3)
    assert [pytest.approx(0.6), None] == page.evaluate(COSINES, [[2, 0], [3, 4], [0, 0]])


@pytest.mark.slow
def test_one_text_is_no_comparison(visit: Visit) -> None:
    """The page says what it wants; what the server refuses is told in its words."""
    visit.expected.append("400")
    page = visit.open("playground/embeddings")
    place = panel(page, "Embeddings")
    place.get_by_role("textbox", name="Texts").fill("alone")
    place.get_by_role("button", name="Embed").click()
    expect(place.get_by_role("alert")).to_contain_text("there are 1")
    place.get_by_role("textbox", name="Texts").fill("short\n" + "red " * 400)
    place.get_by_role("combobox", name="Model").select_option(MINILM)
    place.get_by_role("button", name="Embed").click()

    expect(place.get_by_role("alert")).to_contain_text("256")


@pytest.mark.slow
def test_tabs_go_by_arrows_and_keep_what_was_written(visit: Visit) -> None:
    """Left, right, the first and the last; the address follows, and opens the same tab again."""
    page = visit.open("playground")
    panel(page, "Embeddings").get_by_role("textbox", name="Texts").fill("kept")
    page.get_by_role("tab", name="Embeddings").focus()
    for key, name in (
        ("ArrowRight", "Intents"),
        ("End", "Transcription"),
        ("ArrowRight", "Embeddings"),
        ("ArrowLeft", "Transcription"),
    ):
        page.keyboard.press(key)
        expect(page.get_by_role("tab", name=name, selected=True)).to_be_focused()
        expect(panel(page, name)).to_be_visible()
    page.reload()
    expect(panel(page, "Transcription")).to_be_visible()
    page.get_by_role("tab", name="Embeddings").click()

    expect(panel(page, "Embeddings").get_by_role("textbox", name="Texts")).to_have_value("kept")


def test_intents_are_defined_tried_and_deleted(visit: Visit) -> None:
    """A third label is added; a text finds its label, another one none; the set goes after it was asked twice."""
    page = visit.open("playground/intents")
    place = panel(page, "Intents")
    place.get_by_label("Name of the set").fill("helpdesk")
    place.get_by_role("button", name="Add a label").click()
    place.get_by_label("Label 3", exact=True).fill("holiday")
    place.get_by_label("Examples of label 3").fill(
        "I want a day off\ntwo weeks of vacation\nleave in July\nmy holidays"
    )
    place.get_by_role("button", name="Fit").click()
    row = place.get_by_role("row").filter(has_text="helpdesk")
    expect(row).to_contain_text("login, printer, holiday")
    expect(row).to_contain_text("cross-validated in")
    expect(place.get_by_role("status").filter(has_text="helpdesk is fitted")).to_be_visible()

    place.get_by_label("Text", exact=True).fill("the printer prints blank pages")
    place.get_by_role("button", name="Classify").click()
    expect(place.get_by_text("wants printer.")).to_be_visible()
    expect(place.get_by_role("list", name="Confidence by label").get_by_role("listitem").first).to_contain_text("%")
    visit.picture("playground-intents")
    assert [] == visit.unfit()
    place.get_by_label("Text", exact=True).fill("who won the football match")
    place.get_by_role("button", name="Classify").click()
    expect(place.get_by_text("is unknown: it is like none of the examples.")).to_be_visible()

    row.get_by_role("button", name="Delete helpdesk").click()
    row.get_by_role("button", name="Really delete helpdesk").click()
    expect(place.get_by_role("status").filter(has_text="helpdesk is deleted")).to_be_visible()
    expect(row).to_have_count(0)
    assert 404 == visit.server.get("/v1/intents/helpdesk").status


@pytest.mark.slow
def test_a_set_is_edited_and_a_bad_one_refused(visit: Visit) -> None:
    """What the server keeps comes back into the form; a label twice, or with one example, is told by its name."""
    visit.expected.append("400")
    wanted = {
        "name": "edited",
        "intents": {name: {"examples": [f"{name} one", f"{name} two"]} for name in ("sea", HOSTILE)},
    }
    assert 201 == visit.server.post("/v1/intents", wanted).status
    page = visit.open("playground/intents")
    place = panel(page, "Intents")
    place.get_by_role("button", name="Edit edited").click()
    expect(place.get_by_label("Label 2", exact=True)).to_have_value(HOSTILE)
    place.get_by_label("Label 2", exact=True).fill("sea")
    place.get_by_role("button", name="Fit").click()
    expect(place.get_by_role("alert")).to_contain_text("“sea” stands there twice")
    place.get_by_label("Label 2", exact=True).fill("land")
    place.get_by_label("Examples of label 2").fill("only one")
    place.get_by_role("button", name="Fit").click()
    expect(place.get_by_role("alert")).to_contain_text("intents.land.examples")
    expect(page).to_have_title("Playground · Nearfar")

    assert 200 == visit.server.ask("DELETE", "/v1/intents/edited").status


def test_a_photo_is_dropped_and_another_chosen(visit: Visit, flower: bytes) -> None:
    """The flower is a daisy to the model; each photo keeps its own labels."""
    page = visit.open("playground/photos")
    place = panel(page, "Image classification")
    place.get_by_role("combobox", name="Model").select_option(EFFICIENTNET)
    drop(place, "Drop photos here", flower, "flower.jpg", "image/jpeg")
    labels = place.get_by_role("list", name="Labels of flower.jpg").get_by_role("listitem")
    expect(labels.first).to_contain_text("daisy")
    expect(labels).to_have_count(5)
    place.get_by_label("Labels at most").fill("2")
    place.get_by_role("combobox", name="Model").select_option(PHOTO)
    chosen = {"name": f"{HOSTILE}.jpg", "mimeType": "image/jpeg", "buffer": flower}
    place.get_by_label("Drop photos here").set_input_files(chosen)  # type: ignore[arg-type]
    expect(place.get_by_role("list", name=HOSTILE).get_by_role("listitem")).to_have_count(2)
    expect(labels).to_have_count(5)
    visit.picture("playground-photos")

    assert [] == visit.unfit()


@pytest.mark.slow
def test_files_that_are_no_photos_are_refused(visit: Visit) -> None:
    """By the page where it can see that, else in the server's words, at the file's own place."""
    visit.expected.append("400")
    page = visit.open("playground/photos")
    place = panel(page, "Image classification")
    place.get_by_role("combobox", name="Model").select_option(EFFICIENTNET)
    drop(place, "Drop photos here", b"words", "notes.txt", "text/plain")
    expect(place.get_by_role("alert")).to_contain_text("Not an image: notes.txt")
    drop(place, "Drop photos here", b"no image at all", "broken.png", "image/png")
    broken = place.get_by_role("region", name="broken.png")
    expect(broken.get_by_role("alert")).to_contain_text("InvalidInput")
    expect(broken.get_by_text("This browser cannot show it.")).to_be_visible()
    broken.get_by_role("button", name="Remove").click()
    expect(broken).to_have_count(0)


def test_a_recording_is_written_down(visit: Visit) -> None:
    """The words, and when they were said; a second recording is dropped."""
    page = visit.open("playground/speech")
    place = panel(page, "Transcription")
    place.get_by_role("combobox", name="Model").select_option(WHISPER)
    place.get_by_label("Times of").select_option("word")
    place.get_by_label("Drop recordings here").set_input_files(KENNEDY)
    card = place.get_by_role("region", name="jfk.ogg")
    expect(card.get_by_role("status").filter(has_text=WORDS)).to_be_visible()
    expect(card.get_by_role("link", name="why?")).to_be_visible()
    card.get_by_text("When what was said").click()
    expect(card.get_by_role("cell", name="country").first).to_be_visible()
    place.get_by_role("combobox", name="Model").select_option(SPEECH)
    drop(place, "Drop recordings here", KENNEDY.read_bytes(), "again.ogg", "audio/ogg")
    expect(place.get_by_role("region", name="again.ogg").get_by_text("[fake]").first).to_be_visible()
    visit.picture("playground-speech")

    assert [] == visit.unfit()


@pytest.mark.slow
def test_what_the_microphone_heard_is_written_down(visit: Visit) -> None:
    """Chromium's own microphone beeps; the recording comes to the server as a file."""
    page = visit.open("playground/speech")
    place = panel(page, "Transcription")
    place.get_by_role("combobox", name="Model").select_option(SPEECH)
    place.get_by_role("button", name="Record from the microphone").click()
    place.get_by_role("button", name="Stop recording").click()

    expect(place.get_by_role("region", name="Spoken at").get_by_text("[fake]").first).to_be_visible()


@pytest.mark.slow
def test_half_a_transcript_is_marked(visit: Visit) -> None:
    """A stream that ends without its result is not taken for the whole."""
    half = f"event: delta\ndata: {json.dumps({'text': HOSTILE})}\n\n"
    page = visit.open("playground/speech")
    page.route("**/v1/inference", lambda route: route.fulfill(body=half, content_type="text/event-stream"))
    place = panel(page, "Transcription")
    place.get_by_label("Drop recordings here").set_input_files(KENNEDY)
    card = place.get_by_role("region", name="jfk.ogg")

    expect(card.get_by_text(HOSTILE)).to_be_visible()
    expect(card.get_by_text("This is not all of it")).to_be_visible()
    expect(card.get_by_role("alert")).to_contain_text("ended before all was written down")
    expect(page).to_have_title("Playground · Nearfar")


@pytest.mark.slow
def test_it_fits_a_phone_in_the_dark(visit: Visit) -> None:
    """Matrix, drawing and forms; the matrix scrolls by itself."""
    page = visit.open("playground")
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme="dark")
    place = panel(page, "Embeddings")
    place.get_by_role("combobox", name="Model").select_option(MINILM)
    place.get_by_role("button", name="Embed").click()
    expect(place.get_by_role("img", name="Projection of the texts")).to_be_visible()
    visit.picture("playground-phone")

    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert [] == visit.unfit()
