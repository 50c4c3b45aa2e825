"""`local/sketch` paints pictures that are what was asked for, the same ones again, in all formats."""

import io
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from PIL import Image, ImageStat

from genpulse.core.models import Job, Snapshot
from genpulse.core.ports import Backend
from genpulse.core.registry import registry
from genpulse.engines.sketch import SketchParams
from tests.contracts import backend_contract as contract
from tests.engines.conftest import MakeJob

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one child serves all tests


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sketch() -> AsyncIterator[Backend]:
    model = registry.model("local/sketch")
    assert model is not None
    assert model.backend is not None
    backend = model.backend()
    yield backend
    await backend.close()


async def picture(backend: Backend, job: Job) -> tuple[Image.Image, bytes, list[Snapshot]]:
    checkpoint, finished, snapshots = await contract.run(backend, job)
    (content,) = await contract.check_outputs(backend, job, checkpoint, finished)
    image = Image.open(io.BytesIO(content))
    image.load()
    return image, content, snapshots


def brightness(image: Image.Image) -> float:
    return sum(ImageStat.Stat(image.convert("RGB")).mean) / 3


async def test_paints_with_progress_a_preview_and_metadata(sketch: Backend, make_job: MakeJob) -> None:
    params = SketchParams(prompt="a lighthouse at dawn, oil painting", width=256, height=192)
    job = make_job(params, model="local/sketch", seed=11)
    await contract.check_prepare(sketch, job)
    image, _, snapshots = await picture(sketch, job)
    assert (image.format, image.size, image.mode) == ("PNG", (256, 192), "RGB")
    assert image.info["prompt"] == params.prompt
    assert image.info["seed"] == "11"
    assert image.info["model"] == "local/sketch"
    stages = [snapshot.stage for snapshot in snapshots if snapshot.stage]
    assert {"composing", "painting the water", "styling", "encoding"} <= set(stages)
    (preview,) = [snapshot.preview for snapshot in snapshots if snapshot.preview]
    assert Image.open(io.BytesIO(preview)).format == "JPEG"
    assert max(ImageStat.Stat(image).stddev) > 15, "an empty picture"


async def test_the_same_prompt_and_seed_give_the_same_bytes(sketch: Backend, make_job: MakeJob) -> None:
    def job(seed: int) -> Job:
        params = SketchParams(prompt="autumn forest by a river", width=160, height=160)
        return make_job(params, model="local/sketch", seed=seed)

    first, again, other = [await picture(sketch, job(seed)) for seed in (1, 1, 2)]
    assert first[1] == again[1]
    assert first[0].tobytes() != other[0].tobytes()


@pytest.mark.parametrize(
    ("output_format", "size", "expected"),
    [("jpeg", (64, 64), "JPEG"), ("webp", (64, 500), "WEBP"), ("png", (333, 101), "PNG")],
)
async def test_all_formats_and_odd_sizes(
    sketch: Backend, make_job: MakeJob, output_format: str, size: tuple[int, int], expected: str
) -> None:
    params = SketchParams.model_validate(
        {"prompt": "city at night", "width": size[0], "height": size[1], "output_format": output_format}
    )
    image, _, _ = await picture(sketch, make_job(params, model="local/sketch"))
    assert (image.format, image.size) == (expected, size)


async def test_the_picture_follows_the_prompt(sketch: Backend, make_job: MakeJob) -> None:
    async def paint(prompt: str) -> Image.Image:
        params = SketchParams(prompt=prompt, width=128, height=128, style="none")
        return (await picture(sketch, make_job(params, model="local/sketch")))[0].convert("RGB")

    night, day = await paint("a lake at night"), await paint("a lake, clear day")
    assert brightness(night) < brightness(day) - 25
    winter = await paint("a meadow in winter, clear day")
    summer = await paint("a meadow in summer, clear day")
    ground = (0, 96, 128, 128)
    assert brightness(winter.crop(ground)) > brightness(summer.crop(ground)) + 40
    red, _, blue = ImageStat.Stat((await paint("desert dunes, clear day")).crop(ground)).mean
    assert red > blue + 30


@pytest.mark.parametrize(
    "prompt",
    [
        "thunderstorm over the sea", "snowfall on a village", "foggy pine forest", "aurora over a frozen lake",
        "palm trees on a tropical beach", "cactus desert and a rainbow", "castle on a hill with birds",
        "windmill and tulips", "a volcano", "cherry blossom in spring", "sailboats, ukiyo-e woodblock",
        "purple and gold mountains, stained glass", "rain in the city", "富士山", "!!!",
    ],
)  # fmt: skip
async def test_every_kind_of_scene_can_be_painted(sketch: Backend, make_job: MakeJob, prompt: str) -> None:
    params = SketchParams(prompt=prompt, width=96, height=80, output_format="jpeg")
    image, _, _ = await picture(sketch, make_job(params, model="local/sketch"))
    assert max(ImageStat.Stat(image).stddev) > 8


async def test_cancel_interrupts_the_painting(sketch: Backend, make_job: MakeJob) -> None:
    job = make_job(SketchParams(prompt="mountains", width=2048, height=2048), model="local/sketch")
    checkpoint = await sketch.submit(job, await sketch.prepare(job))
    assert checkpoint is not None
    async for snapshot in sketch.watch(job, checkpoint):  # type: ignore[arg-type] # a local backend answers a checkpoint
        if snapshot.stage == "painting the sky":
            break
    assert await sketch.cancel(job, checkpoint) == "stopped"  # type: ignore[arg-type] # as above
