"""The real server, asked as programs do: right scores, one sentence for every error, and nothing that is kept."""

from __future__ import annotations

import base64
import contextlib
import io
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

import radalign
from benchmarks.damaged_files import mutate, specimens
from benchmarks.images import draw_image, write_dicom
from imaging.errors import REASONS
from radalign.command import main, using
from radalign.serving.answers import NOTICE
from radalign.serving.guard import HOST
from tests.radalign.serving.conftest import MOST_MIB, SHARD

FINDINGS = ["effusion", "nodule", "edema"]
DAMAGED = 120
MOST_GROWTH = 256 << 20  # bytes, of the server and its decoders together
SECRETS = {"PatientName": "Zwetschge^Quirin", "PatientID": "QX-77310-Y", "StudyDescription": "Hausaufgabe"}
PHRASE = "opacity like a zebra in the left costophrenic angle"


def resident(processes: list[int]) -> int:
    lines = [line for pid in processes for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))


def test_scores_are_those_of_the_library(server, film):
    content, answers = film.read_bytes(), {}
    answers["bytes"] = server.predict(content, FINDINGS)
    encoded = base64.b64encode(content).decode()
    answers["json"] = server.ask_json("/predict", content=encoded, findings=FINDINGS)
    held = server.ask("POST", "/images", content, {"content-type": "application/dicom"}).json()
    answers["held"] = server.ask_json("/predict", image=held["image"], findings=FINDINGS)
    for number, run in enumerate(server.runs):
        expected = radalign.load(run).zero_shot(film, FINDINGS).scores[0]
        for way, answer in answers.items():
            assert answer.status == 200, way
            found = [row["score"] for row in answer.json()["models"][number]["findings"]]
            np.testing.assert_allclose(found, expected, atol=2e-6, err_msg=way)
    assert (held["height"], held["width"], held["display"]) == (120, 90, "first window of the file")
    assert held["attributes"]["ViewPosition"] == "PA"
    assert re.search(r"decode;dur=[\d.]+.*network-convirt;dur=[\d.]+", answers["bytes"].headers["server-timing"])


def test_the_image_is_shown_in_its_proportions_and_let_go(server, film):
    held = server.ask("POST", "/images", film.read_bytes(), {"content-type": "application/dicom"}).json()
    path = f"/images/{held['image']}"
    pixels = np.frombuffer(server.ask("GET", f"{path}/pixels").content, np.uint8)
    shown = pixels.reshape(held["shown_height"], held["shown_width"])
    assert shown.shape == (120, 90)
    assert np.corrcoef(shown.ravel(), draw_image(120, 90, seed=1).ravel())[0, 1] > 0.95
    assert server.ask("DELETE", path).status == 204
    gone = server.ask_json("/predict", image=held["image"], findings=FINDINGS)
    assert (gone.status, gone.json()["problem"]) == (404, "This image is not held, or no longer: send it again.")


def test_a_map_lies_over_the_letterboxed_square(server, film):
    answer = server.predict(film.read_bytes(), ["effusion"], maps="true").json()
    model = radalign.load(server.runs[0])
    expected = model.zero_shot(film, ["effusion"]).maps[0, 0]
    found = answer["models"][0]["findings"][0]["map"]
    levels = np.frombuffer(base64.b64decode(found["levels"]), np.uint8).reshape(found["rows"], found["columns"])
    values = found["least"] + levels / 255 * (found["greatest"] - found["least"])
    np.testing.assert_allclose(values, expected, atol=np.ptp(expected) / 255 + 1e-6)
    width = SHARD * 90 / 120  # of the film in its square
    assert found["left"] == pytest.approx(-(SHARD - width) / 2 / width)
    assert [found[side] for side in ("width", "top", "height")] == pytest.approx([SHARD / width, 0, 1])


def test_a_window_beside_the_pixels_is_replaced_and_that_is_said(server, tmp_path):
    path = write_dicom(tmp_path / "film", draw_image(64, 48, seed=3), WindowCenter=60000, WindowWidth=100)
    answer = server.predict(path.read_bytes(), ["edema"]).json()
    assert answer["image"]["display_fallback"] == "range of the pixels"
    assert answer["image"]["display"].startswith("range of the pixels: ")
    found = [row["score"] for row in answer["models"][0]["findings"]]
    np.testing.assert_allclose(found, radalign.load(server.runs[0]).zero_shot(path, ["edema"]).scores[0], atol=2e-6)


def test_each_finding_has_a_row_whatever_it_is(server, film):
    asked = ["pnuemothorax", "cat", "no edema", "<img src=x onerror=alert(1)>"]
    texts, names = server.predict(film.read_bytes(), asked).json()["models"]
    assert [row["finding"] for row in texts["findings"]] == asked
    assert [row["warning"] != "" for row in texts["findings"]] == [False, True, True, True]
    assert all(row["score"] is not None and row["calibrated"] is None for row in texts["findings"])
    assert "means `pneumothorax`" in names["findings"][0]["warning"]
    assert [row["problem"] != "" for row in names["findings"]] == [False, True, True, True]


def test_one_model_of_two_is_asked_by_its_name(server, film):
    answer = server.predict(film.read_bytes(), ["effusion"], model="medklip").json()
    assert [one["model"] for one in answer["models"]] == ["medklip"]
    assert answer["notice"] == NOTICE
    described = server.ask("GET", "/models").json()
    assert answer["models"][0]["digest"] == described["models"][1]["digest"] == radalign.load(server.runs[1]).digest
    wrong = server.predict(film.read_bytes(), ["effusion"], model="<b>")
    assert (wrong.status, wrong.json()["problem"]) == (
        404, "There is no model of that name here; there is convirt and medklip.",
    )  # fmt: skip


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def test_every_error_is_a_sentence(server, film):
    good = film.read_bytes()
    grey = png(np.full((40, 40), 7, np.uint8))
    bomb = png(np.zeros((1, 9000), np.uint8).repeat(9000, 0))
    cases = {
        "no finding": (server.predict(good, []), 422, "There is no finding"),
        "blank": (server.predict(good, ["  "]), 422, "There is no finding"),
        "too many": (server.predict(good, [f"finding {n}" for n in range(33)]), 422, "33 findings"),
        "too long": (server.predict(good, ["x" * 301]), 422, "more than 300 letters"),
        "no image": (server.predict(b"", ["edema"]), 422, "There is no image"),
        "no image format": (server.predict(b"GIF89a" * 9, ["edema"]), 422, "neither DICOM nor JPG nor PNG"),
        "cut": (server.predict(good[:-3000], ["edema"]), 422, "ends before its pixels do"),
        "one grey": (server.predict(grey, ["edema"]), 422, "The image cannot be read"),
        "pixels": (server.predict(bomb, ["edema"]), 422, "more pixels than any radiograph"),
        "bytes": (server.predict(bytes((MOST_MIB << 20) + 1), ["edema"]), 413, f"more than {MOST_MIB} MiB"),
        "maps": (server.predict(good, ["edema"], maps="perhaps"), 422, "`maps` is not as it should be"),
        "no json": (server.ask("POST", "/predict", b"{", {"content-type": "application/json"}), 422, "the body"),
        "no base64": (server.ask_json("/predict", content="%%", findings=["edema"]), 422, "no base64"),
        "no such image": (server.ask_json("/predict", image="x", findings=["edema"]), 404, "not held"),
        "no such page": (server.ask("GET", "/secret"), 404, "nothing at this address"),
        "wrong way": (server.ask("GET", "/predict"), 405, "not asked in this way"),
    }
    for case, (answer, status, sentence) in cases.items():
        assert answer.status == status, (case, answer)
        problem = answer.json()["problem"]
        assert sentence in problem, (case, problem)
        assert "\n" not in problem
        assert "Traceback" not in problem
    assert cases["one grey"][0].json()["reason"] == "constant_image"


def test_a_stream_that_does_not_say_its_length_is_cut_off(server):
    parts = (bytes(1 << 20) for _ in range(MOST_MIB + 3))
    headers = {"content-type": "image/png", "transfer-encoding": "chunked"}
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the server has answered and closed meanwhile
        assert server.ask("POST", "/images", parts, headers).status == 413
    assert server.ask("GET", "/health").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"origin": "http://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"content-type": "text/plain"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/x-www-form-urlencoded"},
    ],
)
def test_pages_of_another_origin_get_nothing(server, film, headers):
    sent = {"content-type": "application/octet-stream", **headers}
    answer = server.ask("POST", "/predict?findings=edema", film.read_bytes(), sent)
    assert answer.status == 403
    assert b"score" not in answer.content
    if "content-type" not in headers:
        assert server.ask("GET", "/models", headers=headers).status == 403


def test_the_page_takes_nothing_from_elsewhere(server):
    for path in ("/", "/programs"):
        page = server.ask("GET", path)
        text = page.content.decode()
        assert NOTICE in text
        assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert page.headers["x-frame-options"] == "SAMEORIGIN"
        found = re.findall(r'(?:src|href)="([^"]+)"', text)
        assert found
        for address in found:
            if not address.startswith(("#", "data:")):
                assert address.startswith("/"), address
                assert server.ask("GET", address).status == 200
    scripts = [server.ask("GET", f"/{name}.js").content.decode() for name in ("reader", "viewer", "findings")]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", "".join(scripts))


def test_openapi_describes_what_is_asked_and_answered(server):
    described = server.ask("GET", "/openapi.json").json()
    predict = described["paths"]["/predict"]["post"]
    assert {"application/dicom", "application/json", "image/png"} <= predict["requestBody"]["content"].keys()
    assert [one["name"] for one in predict["parameters"]] == ["findings", "model", "maps", "image"]
    assert {"200", "404", "413", "422", "503"} <= predict["responses"].keys()
    assert {"Answer", "Question", "HeatMap", "Problem"} <= described["components"]["schemas"].keys()


def test_damaged_and_hostile_files_are_answered(server, tmp_path):
    whole = [specimen.content for specimen in specimens(tmp_path)]
    files = [mutate(whole, 5, number) for number in range(DAMAGED)]

    def send(content: bytes) -> tuple[int, str]:
        answer = server.predict(content, ["edema"], model="convirt")
        return answer.status, "" if answer.status == 200 else answer.json().get("reason", "")

    before = resident(server.processes())
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(send, files))
    assert {status for status, _ in found} == {200, 422}
    assert {reason for status, reason in found if status == 422} - {"", *REASONS} == set()
    assert sum(status == 200 for status, _ in found) > DAMAGED / 20
    assert resident(server.processes()) < before + MOST_GROWTH
    assert server.predict(whole[0], ["edema"]).status == 200


def test_too_much_at_once_is_told_to_come_back(server, film):
    content = film.read_bytes()
    with ThreadPoolExecutor(24) as threads:
        found = list(threads.map(lambda _: server.predict(content, ["edema"]), range(48)))
    assert {answer.status for answer in found} <= {200, 503}
    assert any(answer.status == 200 for answer in found)
    for answer in found:
        if answer.status == 503:
            assert answer.json()["problem"].endswith("ask again in a moment.")


def test_nothing_of_an_image_or_a_question_is_kept(server, tmp_path):
    path = write_dicom(tmp_path / "Quirin_Zwetschge.dcm", draw_image(64, 48, seed=2))
    dataset = pydicom.dcmread(path)
    for name, value in SECRETS.items():
        setattr(dataset, name, value)
    dataset.save_as(path)
    whole = path.read_bytes()
    assert all(value.encode() in whole for value in SECRETS.values())
    held = server.ask("POST", "/images", whole, {"content-type": "application/dicom"}).json()
    answers = [
        server.predict(whole, [PHRASE], maps="true"),
        server.predict(whole[:-900], [PHRASE]),
        server.ask_json("/predict", image=held["image"], findings=[PHRASE]),
        server.ask_json("/predict", image=PHRASE, findings=[PHRASE]),
        server.ask("GET", f"/{SECRETS['PatientID']}?{SECRETS['PatientID']}"),
        server.ask("POST", "/predict", b"\0" + whole, {"content-type": "application/json"}),
    ]
    assert [answer.status for answer in answers] == [200, 422, 200, 404, 404, 422]
    for answer in answers:
        assert not any(value.encode() in answer.content for value in SECRETS.values())
    written = server.written()
    for value in (*SECRETS.values(), PHRASE, "zebra", path.name, held["image"]):
        assert value.encode() not in written


def test_a_taken_port_is_said_in_a_sentence(server, capsys):
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", str(server.runs[0]), "--port", str(port)]) == 1
    sentence = f"radalign: Port {port} is in use: stop what uses it, or give another one with --port.\n"
    assert capsys.readouterr().err == sentence


def test_a_missing_extra_is_said_in_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr(using, "find_spec", lambda name: None)
    assert main(["serve", "medklip"]) == 1
    sentence = "radalign: fastapi is not installed: run pip install '.[serve]' in the checkout.\n"
    assert capsys.readouterr().err == sentence
