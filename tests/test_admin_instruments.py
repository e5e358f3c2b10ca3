"""Laws of `inspect`, `replay`, `status` and `bench`, whose JSON other people's scripts rely on."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from house import COMMAND, House, environment
from maskgate import config, look
from maskgate.faces import Faces
from maskgate.pixels import load_photo
from photos import BAD, GOOD, PEOPLE, several_faces, too_small

VISITS = PEOPLE.parent / "visits"


# -- inspect -------------------------------------------------------------------------------------------------------


def test_inspect_tells_all_it_sees_in_the_agreed_words(house: House) -> None:
    [seen] = house.run("inspect", "--embedding", "--json", GOOD).objects
    assert set(seen) == {"path", "face", "quality", "masked", "live", "embedding", "match", "ms"}
    assert seen["path"] == str(GOOD)
    assert set(seen["face"]) == {"box", "landmarks", "score"}
    left, top, right, bottom = seen["face"]["box"]
    assert 0 < left < right < 600
    assert 0 < top < bottom
    assert np.array(seen["face"]["landmarks"]).shape == (5, 2)
    assert seen["quality"]["faults"] == []
    assert seen["quality"]["usable"] is True
    assert 0 <= seen["masked"] < 0.5
    assert 0 <= seen["live"] <= 1
    assert seen["match"] is None
    assert {"read", "detect", "refine", "align", "judge", "embed", "liveness", "match", "total"} == set(seen["ms"])


def test_the_embedding_is_the_products_own_and_comes_only_on_request(house: House, faces: Faces) -> None:
    [seen] = house.run("inspect", "--embedding", "--json", GOOD).objects
    picture = load_photo(GOOD)
    face = look.foremost(faces.find(picture, thorough=True), picture.size)
    assert face is not None
    own = look.view(faces, picture, face, look.bounds_of(config.Quality()), look.Stages()).probe
    assert np.array(seen["embedding"], np.float32) @ own == pytest.approx(1, abs=1e-4)
    assert "embedding" not in house.run("inspect", "--json", GOOD).objects[0]


def test_inspect_matches_as_the_gate_does(house: House, faces: Faces) -> None:
    house.run("enrol", "Noah", PEOPLE / "Noah" / "enrol.jpg")
    [alone] = house.run("inspect", "--json", PEOPLE / "Noah" / "close.jpg").objects
    assert (alone["match"]["subject"], alone["match"]["next"], alone["match"]["margin"]) == ("Noah", None, 2.0)
    house.run("enrol", "Hopper", PEOPLE / "Hopper" / "enrol.jpg")
    [seen] = house.run("inspect", "--json", PEOPLE / "Noah" / "close.jpg").objects
    match = seen["match"]
    assert set(match) == {"subject", "score", "threshold", "margin", "next"}
    assert (match["subject"], match["next"]) == ("Noah", "Hopper")
    [probe] = house.run("inspect", "--embedding", "--json", PEOPLE / "Noah" / "close.jpg").objects
    with house.store() as store:
        templates = np.array([template.embedding for template in store.templates(faces.embedder)])
    scores = faces.cohort.scores(templates, np.float32(probe["embedding"])[None])[:, 0].tolist()
    assert match["score"] == pytest.approx(max(scores), abs=1e-4)
    assert match["margin"] == pytest.approx(max(scores) - min(scores), abs=1e-4)
    [status] = house.run("status", "--json").objects
    assert match["threshold"] == status["thresholds"]["bare"]["score"]


def test_a_revoked_person_matches_nothing(house: House) -> None:
    house.run("enrol", "Noah", PEOPLE / "Noah" / "enrol.jpg")
    house.run("revoke", "Noah")
    assert house.run("inspect", "--json", PEOPLE / "Noah" / "close.jpg").objects[0]["match"] is None


def test_bad_images_are_told_in_their_place_and_stop_nothing(house: House, tmp_path: Path) -> None:
    unreadable = ("not_an_image", "empty_file", "truncated", "bomb", "no_face")
    bad = [BAD[kind](tmp_path) for kind in unreadable]
    images = [GOOD, *bad, tmp_path, tmp_path / "none.jpg", GOOD]
    ran = house.run("inspect", "--json", *images)
    assert (ran.code, ran.err) == (0, "")
    assert [seen["path"] for seen in ran.objects] == [str(image) for image in images]
    assert ["error" in seen for seen in ran.objects] == [False, *[True] * 7, False]
    for seen in ran.objects[1:-1]:
        assert set(seen) == {"path", "error"}
        assert "\n" not in seen["error"]


def test_a_poor_face_is_embedded_all_the_same_and_a_crowd_gives_its_foremost(house: House, tmp_path: Path) -> None:
    house.run("enrol", "Obama", GOOD)
    poor, crowd = house.run("inspect", "--json", "--embedding", too_small(tmp_path), several_faces(tmp_path)).objects
    assert poor["quality"]["faults"] == ["too_small"]
    assert poor["quality"]["usable"] is False
    assert len(poor["embedding"]) == 128
    assert crowd["match"]["score"] > 0.9


def test_names_come_from_stdin_too_whatever_bytes_they_are_made_of(house: House, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9 \xf0\x9f\xa7\x94.jpg")
    shutil.copy(GOOD, odd)
    listed = b"\n".join([os.fsencode(odd), b"", os.fsencode(GOOD)])
    ran = house.run("inspect", "--json", GOOD, "-", "nowhere.jpg", stdin=listed)
    assert [os.fsencode(seen["path"]) for seen in ran.objects] == [
        os.fsencode(path) for path in (GOOD, odd, GOOD, "nowhere.jpg")
    ]
    assert ran.objects[1]["face"] == ran.objects[0]["face"]


def test_many_images_take_no_more_memory_than_few(house: House, tmp_path: Path) -> None:
    # Of two sizes, so that the detector is resized each time.
    photos = [GOOD, PEOPLE / "Noah" / "enrol.jpg"]
    small = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    for photo, copy in zip(photos, small, strict=True):
        Image.open(photo).convert("RGB").resize((240, 300)).crop((0, 0, 240 - 40 * small.index(copy), 300)).save(copy)

    def peak_mb(count: int) -> float:
        process = house.start("inspect", "--json", "--embedding", "-", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert process.stdin is not None
        process.stdin.write(b"".join(os.fsencode(small[i % 2]) + b"\n" for i in range(count)))
        process.stdin.close()
        _, code, usage = os.wait4(process.pid, 0)
        assert code == 0
        return usage.ru_maxrss / 1024

    few, many = peak_mb(10), peak_mb(150)
    assert many < few + 15


def test_the_first_image_is_not_charged_for_loading_the_networks(house: House) -> None:
    ran = house.run("inspect", "--json", *[GOOD] * 5)
    spent = [seen["ms"]["total"] for seen in ran.objects]
    # On a shared machine any one may be slow; loading takes longer than a dozen images.
    assert spent[0] < 8 * sorted(spent)[2]
    for seen in ran.objects:
        stages = sum(ms for stage, ms in seen["ms"].items() if stage != "total")
        assert stages <= seen["ms"]["total"] + 0.01


@pytest.mark.parametrize("command", [("inspect", "--json", str(GOOD)), ("replay", "--json", str(VISITS / "empty.mp4"))])
def test_instruments_run_on_a_machine_without_config_or_gallery(command: tuple[str, ...], tmp_path: Path) -> None:
    if config.DEFAULT_PATH.exists():
        pytest.skip("maskgate is installed on this machine")
    env = environment()
    env.pop("MASKGATE_CONFIG", None)
    done = subprocess.run([*COMMAND, *command], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("inspect", GOOD), ("status",), ("replay", VISITS / "empty.mp4")])
def test_a_gallery_one_may_not_see_is_not_taken_for_none(
    house: House, command: tuple[str | Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    house.enrol("Ada")
    stat = Path.stat

    def hidden(path: Path, **how: bool) -> os.stat_result:
        # Root sees everything, so a real folder without permissions would not do.
        if path == house.gallery:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", hidden)
    assert "Permission denied, use sudo" in house.run(*command).failure


def test_for_a_person_inspect_says_it_in_a_line(house: House, tmp_path: Path) -> None:
    ran = house.run("inspect", GOOD, tmp_path / "none.jpg")
    first, second = ran.out.splitlines()
    assert first.startswith(f"{GOOD}: ")
    assert "bare" in first
    assert second == f"{tmp_path}/none.jpg: no such file"


# -- replay --------------------------------------------------------------------------------------------------------


def test_replay_tells_each_visit_in_the_agreed_words_and_changes_nothing(house: House) -> None:
    house.run("enrol", "Noah", PEOPLE / "Noah" / "enrol.jpg", PEOPLE / "Noah" / "enrol_2.jpg")
    events, files = house.events(), house.gallery.read_bytes()
    [visit] = house.run("replay", "--json", VISITS / "walk_up.mp4").objects
    assert set(visit) == {
        *("source", "subject", "granted", "reason", "score", "margin", "masked", "live", "frames"),
        *("first_usable_s", "decided_s"),
    }
    assert (visit["subject"], visit["granted"], visit["reason"]) == ("Noah", True, "granted")
    assert visit["source"] == str(VISITS / "walk_up.mp4")
    assert 0 <= visit["first_usable_s"] <= visit["decided_s"] < 6.5
    assert visit["live"] is None
    assert house.events() == events
    assert house.gallery.read_bytes() == files


def test_replay_is_the_same_every_time_and_in_any_order(house: House) -> None:
    house.run("enrol", "Noah", PEOPLE / "Noah" / "enrol.jpg")
    clips = [VISITS / "walk_up.mp4", VISITS / "resident_bare.mp4"]
    once = house.run("replay", "--json", *clips).objects
    assert house.run("replay", "--json", *reversed(clips)).objects == [*once[1:], once[0]]
    assert {visit["source"] for visit in once} == {str(clip) for clip in clips}


def test_nobody_enrolled_lets_nobody_in_and_an_empty_scene_tells_nothing(house: House) -> None:
    ran = house.run("replay", "--json", VISITS / "walk_up.mp4", VISITS / "empty.mp4")
    assert {visit["source"] for visit in ran.objects} == {str(VISITS / "walk_up.mp4")}
    assert {(visit["granted"], visit["reason"]) for visit in ran.objects} == {(False, "empty_gallery")}
    assert not house.gallery.exists()


def test_a_visit_that_the_end_of_the_film_cuts_short_is_told(house: House, tmp_path: Path) -> None:
    still = tmp_path / "still"
    still.mkdir()
    shutil.copy(GOOD, still)
    [visit] = house.run("replay", "--json", still).objects
    assert visit["reason"] in ("left", "empty_gallery")
    assert visit["frames"] > 0


def test_a_source_that_cannot_be_played_is_one_line_and_the_others_are_played(house: House, tmp_path: Path) -> None:
    torn = tmp_path / "torn.mp4"
    torn.write_bytes((VISITS / "walk_up.mp4").read_bytes()[:2000])
    ran = house.run("replay", "--json", tmp_path / "none.mp4", torn, VISITS / "walk_up.mp4")
    assert ran.code == 1
    assert [
        str(tmp_path / name) in line for name, line in zip(("none.mp4", "torn.mp4"), ran.err.splitlines(), strict=True)
    ]
    assert {visit["source"] for visit in ran.objects} == {str(VISITS / "walk_up.mp4")}


# -- status --------------------------------------------------------------------------------------------------------


def test_status_says_what_the_odds_mean_now(house: House, faces: Faces) -> None:
    house.run("enrol", "Noah", PEOPLE / "Noah" / "enrol.jpg")
    [told] = house.run("status", "--json").objects
    limits = look.thresholds_of(faces, config.Policy(), 1)
    for cover, limit in limits.items():
        shown = told["thresholds"][cover.value]
        assert (shown["score"], shown["fmr"], shown["fnmr"]) == (limit.score, limit.fmr, limit.fnmr)
        assert shown["supported"] is limit.supported
        assert shown["odds"] == look.odds_of(limit, config.Policy(), 1)
    assert told["gallery"]["subjects"] == told["gallery"]["templates"] == 1
    assert told["models"] == faces.digests
    assert told["runtime"] == faces.runtime
    assert told["daemon"] is None
    assert "no daemon is running" in told["daemon_error"]


def test_status_warns_when_the_calibration_cannot_promise_the_odds(tmp_path: Path) -> None:
    modest = House(tmp_path, policy={"stranger_odds": 10})
    assert "warning" not in modest.run("status").out
    bold = House(tmp_path, policy={"stranger_odds": 100_000_000})
    text = bold.run("status").out
    assert text.count("warning: for ") == 2
    [told] = bold.run("status", "--json").objects
    assert not any(limit["supported"] for limit in told["thresholds"].values())
    assert all(f"1 in {limit['odds']:,}" in text for limit in told["thresholds"].values())


def test_status_says_what_life_is_asked_for(tmp_path: Path, faces: Faces) -> None:
    assert "lives_from" not in House(tmp_path, policy={"liveness": "balanced"}).run("status").out
    text = House(tmp_path, policy={"liveness": "balanced", "lives_from": 0.41}).run("status").out
    assert "policy.lives_from = 0.41 stands for that here" in text
    for word, told in faces.liveness_at.items():
        assert [word, f"{told.live:.3f}", f"{told.bpcer:.1%}"] in [line.split()[:3] for line in text.splitlines()]


def test_status_names_who_must_be_enrolled_anew_after_the_networks_changed(house: House) -> None:
    house.enrol("Ada")
    assert house.run("status", "--json").objects[0]["gallery"]["unusable"] == ["Ada"]
    assert "Ada" in house.run("status").out


def test_status_shows_the_running_daemon(tmp_path: Path) -> None:
    house = House(tmp_path, camera={"source": str(VISITS / "empty.mp4")})
    daemon = house.start("run", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # The gallery is made before the socket: until then it may be found half-made.
        while not (tmp_path / "control.sock").exists() and daemon.poll() is None:
            time.sleep(0.1)
        for _ in range(300):
            [told] = house.run("status", "--json").objects
            if told["daemon"] is not None or daemon.poll() is not None:
                break
        assert told["daemon"]["state"] in ("armed", "camera_failed")
        assert told["daemon"]["models"] == told["models"]
    finally:
        daemon.terminate()
        daemon.wait(timeout=30)


def test_status_counts_from_the_last_decision_by_its_own_clock_whatever_the_cameras_is(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(600):
        (photos / f"{number:03}.jpg").symlink_to(GOOD)
    # Shown as fast as they are read, files are on a clock that begins with them.
    house = House(tmp_path, camera={"source": str(photos), "paced": False})
    daemon = house.start("run", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    begun_s = time.monotonic()
    try:
        last = None
        while last is None and daemon.poll() is None:
            time.sleep(0.1)
            if (tmp_path / "control.sock").exists():
                told = house.run("status", "--json").objects[0]["daemon"]
                last = told and told["last_decision"]
        assert last is not None
        assert 0 <= last["ago_s"] <= time.monotonic() - begun_s
    finally:
        daemon.terminate()
        daemon.wait(timeout=30)


# -- bench ---------------------------------------------------------------------------------------------------------


def test_bench_tells_what_the_gate_costs_in_the_agreed_words(house: House, faces: Faces) -> None:
    [told] = house.run("bench", "--json", "--frames", "5", "--idle", "1", "--image", GOOD).objects
    assert told["models"] == faces.digests
    assert told["cpu"]
    assert told["threads"] == 1
    assert told["face"] is told["usable"] is True
    stages = {"detect", "refine", "align", "judge", "embed", "liveness", "match", "total"}
    assert set(told["stages"]) == stages
    for spread in told["stages"].values():
        assert 0 <= spread["p50"] <= spread["p95"] <= spread["max"]
    shares = [spread["share"] for stage, spread in told["stages"].items() if stage != "total"]
    assert 0.9 < sum(shares) <= 1.001
    assert told["fps"] > 0
    assert 50 < told["peak_rss_mb"] < 1000
    assert all(told[name]["cpu"] > 0 for name in ("import_s", "cold_start_s", "help_s"))
    assert set(told["gallery_ms"]) == {"100", "1000", "10000", "50000"}
    # Not that more templates take longer: on a busy machine the scheduler decides that.
    assert all(ms > 0 for ms in told["gallery_ms"].values())


def test_a_gate_at_rest_writes_nothing_and_looks_for_no_face(house: House) -> None:
    [told] = house.run("bench", "--json", "--frames", "3", "--idle", "2").objects
    idle = told["idle"]
    assert idle["bytes_written"] == 0
    assert idle["awake_frames"] == 0
    assert idle["frames"] > 10
    assert idle["cpu_share"] < 0.2


def test_bench_for_people_says_the_same(house: House) -> None:
    ran = house.run("bench", "--frames", "3", "--idle", "1")
    assert "at rest" in ran.out
    assert "embed" in ran.out
    assert house.run("bench", "--image", house.folder / "none.jpg").failure.endswith("no such file")


def test_what_an_owner_submits_fits_the_table_in_the_docs(house: House) -> None:
    submitted = house.run("bench", "--submit-text", "--frames", "3", "--idle", "1", "--image", GOOD).out
    page = (Path(__file__).parents[1] / "docs" / "BENCHMARKS.md").read_text(encoding="utf-8")
    [heading] = [line for line in page.splitlines() if line.startswith("| board |")]
    row, *rest = submitted.splitlines()
    assert row.count("|") == heading.count("|")
    assert "not measured" not in row
    for said in ("median ms by stage", "embedder ", "cores", "Python 3."):
        assert said in "\n".join(rest), said


def test_bench_has_one_form_at_a_time(house: House) -> None:
    assert house.run("bench", "--json", "--submit-text").code == 2
