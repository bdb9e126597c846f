"""text-to-image on tiny random pipelines of the real classes: everything but the sense of the picture."""

from __future__ import annotations

import io
import json
import logging
import shutil
import sys
import threading

import pytest

from backends.errors import ContentRefused, ContextLengthExceeded, InvalidInput, Unavailable
from backends.local import text_to_image
from backends.local.text_to_image import MAX_SEED, TASK, load
from backends.local.types import Cancelled, Control, Opening
from backends.types import DrawingInput, Progress
from tests.unit.backends.local import tiny_diffusion

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
Image = pytest.importorskip("PIL.Image")
transformers = pytest.importorskip("transformers")

# Schedulers of diffusers 0.42 turn tensors into arrays in a way that numpy 2 means to end; Python hides it by default.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PROMPT = "a cat"


def opening(directory, **changes):
    return Opening(
        **{"directory": directory, "device": "cpu", "dtype": "float32", "threads": 1, "cache_dir": directory, **changes}
    )


def saved(pipeline, directory, **options):
    pipeline.save_pretrained(directory, **options)
    return directory


@pytest.fixture(scope="module", autouse=True)
def quiet():
    """As `preparation` sets the libraries up before it loads."""
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)


@pytest.fixture
def heard(caplog):
    """What the libraries log; they keep it from the root logger."""
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    for logger in loggers:
        logger.addHandler(caplog.handler)
    yield caplog
    for logger in loggers:
        logger.removeHandler(caplog.handler)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A saved Stable Diffusion pipeline."""
    home = tmp_path_factory.mktemp("sd")
    return saved(tiny_diffusion.stable_diffusion(home / "tokenizer"), home / "model")


@pytest.fixture(scope="module")
def model(files):
    return load(opening(files))


@pytest.fixture(scope="module")
def xl(tmp_path_factory):
    home = tmp_path_factory.mktemp("xl")
    return load(opening(saved(tiny_diffusion.stable_diffusion_xl(home / "tokenizers"), home / "model")))


@pytest.fixture
def copy(files, tmp_path):
    """The saved pipeline, to be changed."""
    return shutil.copytree(files, tmp_path / "copy")


def rewrite(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def scheduled(directory, kind, **changes):
    """The model with another scheduler."""
    config = diffusers.DDIMScheduler.from_pretrained(directory / "scheduler").config
    getattr(diffusers, kind).from_config(config, **changes).save_pretrained(directory / "scheduler")
    rewrite(directory / "model_index.json", scheduler=["diffusers", kind])
    return load(opening(directory))


def draw(model, *, emit=lambda _piece: None, cancelled=None, **asked):
    payload = DrawingInput(**{"prompt": PROMPT, "steps": 2, "seed": 7, **asked})
    units = TASK.pre(model, payload)
    control = Control(cancelled or threading.Event(), emit)
    results = text_to_image.FAMILY.core(model, [unit.content for unit in units], control)
    return TASK.post(model, payload, units, results)


def picture(answer, at=0):
    return Image.open(io.BytesIO(answer.output.images[at]))


# --- what is drawn ------------------------------------------------------------------------------


def test_a_prompt_becomes_a_png_of_the_models_own_size(model):
    """64 x 64 latents would be 128 pixels; here 8 become 16. What was spent is counted in pixels and steps."""
    answer = draw(model)

    assert ("PNG", (16, 16), "RGB") == (picture(answer).format, picture(answer).size, picture(answer).mode)
    assert (1, 16 * 16 * 2, 2 + 4) == (answer.usage.images, answer.usage.pixel_steps, answer.usage.prompt_tokens)


def test_the_picture_is_the_pipelines_own(files, model):
    """Our seed, our callback and our way to PNG change no pixel."""
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(files, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(PROMPT, num_inference_steps=2, generator=torch.Generator().manual_seed(7)).images[0]

    assert theirs.tobytes() == picture(draw(model)).tobytes()


def test_a_png_tells_nothing_of_the_prompt(model):
    """No metadata, no chunk but the picture's own."""
    answer = draw(model)
    png = answer.output.images[0]

    assert {} == picture(answer).info
    assert PROMPT.encode() not in png
    assert not [chunk for chunk in (b"tEXt", b"iTXt", b"zTXt", b"eXIf", b"tIME") if chunk in png]


def test_a_seed_gives_the_same_bytes_and_another_does_not(model):
    """Also after other requests."""
    first, other, again = draw(model, seed=7), draw(model, seed=8), draw(model, seed=7)

    assert first.output == again.output
    assert first.output.images != other.output.images


@pytest.mark.parametrize("kind", ["EulerAncestralDiscreteScheduler", "DDIMScheduler"])
def test_many_images_are_those_of_single_requests(copy, kind):
    """Each has the next seed, also for what a scheduler draws on its way."""
    model = scheduled(copy, kind)
    together = draw(model, images=3, seed=40).output
    alone = [draw(model, seed=seed).output.images[0] for seed in (40, 41, 42)]

    assert (40, 41, 42) == together.seeds
    assert tuple(alone) == together.images


def test_a_request_changes_nothing_for_the_next(copy):
    """This scheduler sets itself otherwise once it has been asked for an odd number of steps."""
    model = scheduled(copy, "DPMSolverSinglestepScheduler", lower_order_final=False, final_sigmas_type="sigma_min")
    before = draw(model, steps=4).output
    draw(model, steps=3)

    assert before == draw(model, steps=4).output


def test_no_seed_draws_a_new_one_and_names_it(model):
    """The answer says with which seed the picture comes again."""
    first, second = draw(model, seed=None), draw(model, seed=None)

    assert first.output.seeds != second.output.seeds
    assert draw(model, seed=first.output.seeds[0]).output.images == first.output.images


def test_sizes_guidance_and_negative_prompt_reach_the_pipeline(model):
    """Each makes another picture, of the size asked for."""
    plain = draw(model).output.images[0]

    assert (24, 8) == picture(draw(model, width=24, height=8)).size
    assert len({plain, draw(model, guidance_scale=1.5).output.images[0], draw(model, steps=3).output.images[0]}) == 3
    assert plain != draw(model, negative_prompt="a dog").output.images[0]
    assert draw(model).usage.prompt_tokens < draw(model, negative_prompt="a dog").usage.prompt_tokens


def test_stable_diffusion_xl_takes_the_same_path(xl):
    """Two tokenizers, two encoders, its own default size; the same seed gives the same bytes."""
    answer = draw(xl)

    assert (16, 16) == picture(answer).size
    assert draw(xl, images=2).output.images == (answer.output.images[0], draw(xl, seed=8).output.images[0])
    assert answer.output.images != draw(xl, negative_prompt="a dog").output.images
    assert 5.0 == xl.guidance_scale


def test_a_distilled_model_draws_in_one_step_without_guidance(copy):
    """As SD-Turbo and LCM do; what the model wants by default stands beside its files."""
    (copy / "nearfar.json").write_text('{"steps": 1, "guidance_scale": 0.0}')
    model = scheduled(copy, "LCMScheduler")
    answer = draw(model, steps=None)

    assert (1, 16 * 16 * 1) == (answer.usage.steps, answer.usage.pixel_steps)
    assert answer.output == draw(model, steps=1, guidance_scale=0.0).output
    with pytest.raises(InvalidInput, match=r"heeds none at guidance_scale 0\.0"):
        draw(model, steps=None, negative_prompt="a dog")
    with pytest.raises(InvalidInput, match="steps is 100, which this model's scheduler cannot do; its default is 1"):
        draw(model, steps=100)


# --- progress and cancelling --------------------------------------------------------------------


def test_each_step_of_each_image_is_told(model):
    """In order, out of all steps, with the time held so far."""
    pieces = []
    draw(model, images=2, steps=3, emit=pieces.append)

    assert [Progress(at, 6) for at in range(1, 7)] == [Progress(piece.step, piece.steps) for piece in pieces]
    assert sorted(piece.service_s for piece in pieces) == [piece.service_s for piece in pieces]


@pytest.mark.parametrize("kind", ["PNDMScheduler", "HeunDiscreteScheduler"])
def test_progress_counts_the_steps_asked_for(copy, kind):
    """Some schedulers predict more often than once a step; nobody asked for those."""
    model, pieces = scheduled(copy, kind, skip_prk_steps=True), []
    draw(model, steps=4, images=2, emit=pieces.append)

    assert [1, 2, 3, 4, 5, 6, 7, 8] == [piece.step for piece in pieces]


def test_a_cancelled_drawing_stops_between_steps_and_leaves_no_trace(model):
    """The step after the sign is not taken, and the next picture is what it would have been."""
    before = draw(model, steps=4).output
    cancelled, pieces = threading.Event(), []

    def emit(piece):
        pieces.append(piece)
        if piece.step == 2:
            cancelled.set()

    with pytest.raises(Cancelled):
        draw(model, steps=50, cancelled=cancelled, emit=emit)

    assert [1, 2] == [piece.step for piece in pieces]
    assert before == draw(model, steps=4).output


def test_a_request_nobody_waits_for_is_not_begun(model):
    """Nor is the next of many images."""
    cancelled, pieces = threading.Event(), []
    cancelled.set()
    with pytest.raises(Cancelled):
        draw(model, cancelled=cancelled, emit=pieces.append)

    assert [] == pieces


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"steps": 0}, "steps is 0; it can be 1 to 150"),
        ({"steps": 151}, "steps is 151; it can be 1 to 150"),
        ({"guidance_scale": float("nan")}, "guidance_scale is nan; it can be 0 to 50"),
        ({"guidance_scale": float("inf")}, "guidance_scale is inf; it can be 0 to 50"),
        ({"guidance_scale": -0.1}, "guidance_scale is -0.1; it can be 0 to 50"),
        ({"images": 0}, "images is 0; it can be 1 to 10"),
        ({"images": 11}, "images is 11; it can be 1 to 10"),
        ({"seed": -1}, f"seed is -1; it can be 0 to {MAX_SEED}"),
        ({"seed": MAX_SEED, "images": 2}, f"seed is {MAX_SEED}; it can be 0 to {MAX_SEED - 1}"),
        ({"width": 0}, "width is 0; this model draws multiples of 8 pixels: 8"),
        ({"width": 7}, "width is 7; this model draws multiples of 8 pixels: 8"),
        ({"height": 20}, "height is 20; this model draws multiples of 8 pixels: 16 or 24"),
        ({"height": -8}, "height is -8; this model draws multiples of 8 pixels: 8"),
        ({"width": 2048, "height": 2056}, "2048 x 2056 is 4210688 pixels; at most 4194304 are drawn"),
        ({"guidance_scale": 1.0, "negative_prompt": "x"}, "heeds none at guidance_scale 1.0"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_is(model, asked, says):
    """The sentence names the parameter, its value and what is possible."""
    with pytest.raises(InvalidInput) as caught:
        TASK.pre(model, DrawingInput(**{"prompt": PROMPT, **asked}))

    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["prompt", "negative_prompt"])
@pytest.mark.parametrize("kind", ["model", "xl"])
def test_a_prompt_past_the_text_encoder_is_refused(request, kind, name):
    """It would be cut without a word; the sentence has the limit and the length, and nothing of the prompt."""
    loaded = request.getfixturevalue(kind)
    asked = {"prompt": PROMPT, name: "z" * 76}
    with pytest.raises(ContextLengthExceeded, match=f"^{name} has 78 tokens; the model reads 77$"):
        draw(loaded, **asked)

    assert draw(loaded, **{**asked, name: "z" * 75}).output.images


def test_the_largest_seed_can_be_drawn(model):
    """The limit is one that works."""
    assert (MAX_SEED,) == draw(model, seed=MAX_SEED).output.seeds


@pytest.mark.parametrize("flags", [True, False])
def test_a_flagged_picture_is_refused_and_never_black(tmp_path, flags, heard):
    """The checker that came with the model stays, and its verdict is an error."""
    checker, extractor = tiny_diffusion.safety_checker(flags)
    pipeline = tiny_diffusion.stable_diffusion(
        tmp_path / "tokenizer", safety_checker=checker, feature_extractor=extractor
    )
    model = load(opening(saved(pipeline, tmp_path / "model")))
    heard.clear()
    if flags:
        with pytest.raises(ContentRefused, match="refuses what it drew from seed 7"):
            draw(model)
    else:
        assert any(low != high for low, high in picture(draw(model)).getextrema())

    assert [] == heard.messages


def test_a_picture_that_is_no_number_is_an_error(files):
    """Half precision overflows in some autoencoders: that would come out black."""
    model = load(opening(files))
    with torch.no_grad():
        model._pipeline.vae.decoder.conv_out.bias.fill_(float("nan"))

    with pytest.raises(Unavailable, match="the model drew no numbers in float32"):
        draw(model)


def test_a_pipeline_without_negative_prompts_says_so(tmp_path):
    """Latent consistency models were taught their guidance: their call has no place for one."""
    original = tiny_diffusion.stable_diffusion(tmp_path / "tokenizer")
    parts = {**original.components, "unet": tiny_diffusion.unet(time_cond_proj_dim=32)}
    parts["scheduler"] = diffusers.LCMScheduler.from_config(original.scheduler.config)
    pipeline = diffusers.LatentConsistencyModelPipeline(**parts, requires_safety_checker=False)
    model = load(opening(saved(pipeline, tmp_path / "model")))

    assert (4, 8.5) == (model.steps, model.guidance_scale)
    assert draw(model).output.images
    with pytest.raises(InvalidInput, match="this LatentConsistencyModelPipeline heeds none"):
        draw(model, negative_prompt="a dog")


# --- loading ------------------------------------------------------------------------------------


def test_what_was_loaded_says_what_it_is(model):
    """For the status, and for who asks for nothing in particular."""
    assert ("cpu", "float32", "torch") == (model.device, model.dtype, model.runtime)
    assert (16, 16, 50, 7.5, 8) == (model.width, model.height, model.steps, model.guidance_scale, model.multiple)


def test_loading_and_drawing_write_nothing_to_the_log(tmp_path, heard, capfd):
    """No progress bar, no complaint about a part or a setting; and no piece of a prompt, ever."""
    vae = tiny_diffusion.tiny_autoencoder()
    files = saved(tiny_diffusion.stable_diffusion(tmp_path / "tokenizer", vae=vae), tmp_path / "model")
    rewrite(files / "vae" / "config.json", an_older_setting=1)
    rewrite(files / "scheduler" / "scheduler_config.json", steps_offset=0, clip_sample=True)
    capfd.readouterr()
    heard.clear()
    draw(load(opening(files)))

    assert ("", "") == capfd.readouterr()
    assert [] == heard.messages
    assert logging.WARNING == logging.getLogger("diffusers").level


@pytest.mark.parametrize("whole", [False, True])
def test_half_precision_files_are_enough(copy, tmp_path, whole):
    """Some models come only so, and some with one part that is not; who has both is read whole."""
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(copy)
    halves = saved(pipeline, tmp_path / "halves", variant="fp16")
    if whole:
        (halves / "vae" / "diffusion_pytorch_model.fp16.safetensors").unlink()
        shutil.copy(copy / "vae" / "diffusion_pytorch_model.safetensors", halves / "vae")

    assert not any((halves / "unet").glob("*model.safetensors"))
    assert draw(load(opening(halves))).output == draw(load(opening(copy))).output


def test_a_model_may_be_bfloat16(files):
    """The dtype is the one asked for, and the picture is still made of numbers."""
    model = load(opening(files, dtype="bfloat16"))

    assert torch.bfloat16 == model._pipeline.unet.dtype
    assert (16, 16) == picture(draw(model)).size


@pytest.mark.parametrize(
    "written", ['{"steps": 0}', '{"guidance_scale": 51}', '{"step": 1}', "[]", "{"], ids=lambda written: written
)
def test_wrong_defaults_are_refused_at_once(copy, written):
    """Not when the first request meets them."""
    (copy / "nearfar.json").write_text(written)

    with pytest.raises(Unavailable, match=r"the model's nearfar.json is not understood"):
        load(opening(copy))


def test_a_pickle_is_refused_and_let_in_where_that_is_allowed(copy):
    """It can run code."""
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    unet = tiny_diffusion.unet()
    unet.save_pretrained(copy / "unet", safe_serialization=False)

    with pytest.raises(Unavailable, match="its unet has only pickled weights, which can run code"):
        load(opening(copy))
    assert draw(load(opening(copy, pickles=True))).output.images


def test_a_damaged_file_is_no_model(copy):
    """Whatever the library says of it, nothing is loaded."""
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])

    with pytest.raises(OSError, match="diffusion_pytorch_model"):
        load(opening(copy))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (["my_code", "MyPipeline"], "is no pipeline of the diffusers"),
        ("MyPipeline", "is no pipeline of the diffusers"),
        ("DDIMScheduler", "is no pipeline of the diffusers"),
        ("StableDiffusionImg2ImgPipeline", "cannot be served: its calls take no width, height"),
        ("StableDiffusionInpaintPipeline", "starts from an image, not from a text"),
        ("PixArtAlphaPipeline", "cannot be served: its calls take no callback_on_step_end"),
    ],
)
def test_what_does_not_draw_from_a_text_is_refused(copy, kind, says):
    """Before a weight is read; code that came with the files is not even looked at."""
    rewrite(copy / "model_index.json", _class_name=kind)
    (copy / "my_code.py").write_text("raise SystemExit('this ran')")

    with pytest.raises(Unavailable, match=says):
        load(opening(copy))


def test_code_that_comes_with_a_part_is_not_run(copy):
    """Neither as a part of the pipeline."""
    (copy / "unet" / "my_code.py").write_text("raise SystemExit('this ran')")
    rewrite(copy / "model_index.json", unet=["my_code", "UNet2DConditionModel"])

    with pytest.raises(ValueError, match="trust_remote_code"):
        load(opening(copy))


def test_a_machine_without_diffusers_is_told_what_to_install(files, monkeypatch):
    """The extra's name, as it is typed."""
    monkeypatch.setitem(sys.modules, "diffusers", None)
    monkeypatch.setitem(sys.modules, "diffusers.utils", None)

    with pytest.raises(Unavailable, match=r"pip install 'nearfar\[images\]'"):
        load(opening(files))
