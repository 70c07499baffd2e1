"""Which stored object a path is about (D10)."""

from __future__ import annotations

import pytest

from gatehouse.model.call import Dialect, Origin, Route
from gatehouse.routing.jobs import LONGEST, job_of

ORIGIN = Origin("https", "api.example.com", 443)


def job(dialect: Dialect, path: str) -> str | None:
    return job_of(Route("transparent", "p", dialect, "other", path, ORIGIN, "/p"))


@pytest.mark.parametrize(
    ("dialect", "path", "expected"),
    [
        ("openai", "/v1/batches", None),
        ("openai", "/v1/batches/", None),
        ("openai", "/v1/batches/batch_abc", "batch_abc"),
        ("openai", "/v1/batches/batch_abc/cancel", "batch_abc"),
        ("openai", "/v1/files/file-1/content", "file-1"),
        ("openai", "/v1/uploads/upload_1/parts", "upload_1"),
        ("openai", "/v1/fine_tuning/jobs", None),
        ("openai", "/v1/fine_tuning/jobs/ftjob-1/events", "ftjob-1"),
        ("openai", "/v1/videos/video_1/content", "video_1"),
        ("openai", "/openai/v1/batches/batch_azure", "batch_azure"),
        ("openai", "/v1/chat/completions", None),
        ("anthropic", "/v1/messages/batches/msgbatch_1/results", "msgbatch_1"),
        ("anthropic", "/v1/files/file_1", "file_1"),
        ("google", "/v1beta/batches/b1:cancel", "batches/b1"),
        ("google", "/v1beta/files/abc", "files/abc"),
        ("google", "/v1beta/models/veo-3/operations/o1", "models/veo-3/operations/o1"),
        ("google", "/upload/v1beta/files", None),
        ("google", "/v1beta/models/gemini-2.5-flash:generateContent", None),
        (
            "google",
            "/v1beta1/projects/p/locations/l/batchPredictionJobs/7",
            "projects/p/locations/l/batchPredictionJobs/7",
        ),
    ],
)
def test_the_path_names_it(dialect: Dialect, path: str, expected: str | None) -> None:
    assert job(dialect, path) == expected


def test_an_id_on_record_is_bounded() -> None:
    assert job("openai", "/v1/files/" + "x" * 5000) == "x" * LONGEST
