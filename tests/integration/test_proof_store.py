"""Reports of recovery tests in a bucket: how often it is asked for them."""

from pathlib import Path

import pytest

from spoqplus_backup.core.connections import s3_client
from spoqplus_backup.core.crypto import sign
from spoqplus_backup.core.proof.store import past_proofs
from spoqplus_backup.core.repository.s3 import S3Repository
from support import s3
from support.keys import signing_pair
from support.proofs import proof_of

pytestmark = pytest.mark.integration


def test_the_newest_reports_cost_one_listing_and_two_reads_each(tmp_path: Path) -> None:
    keys = signing_pair(tmp_path)
    with s3.moto() as endpoint, s3.faulty(endpoint) as faults:
        client = s3_client(s3.record(faults.endpoint))
        repository = S3Repository("s3", lambda: client, s3.BUCKET, f"site/{tmp_path.name}")
        tests = [proof_of(number) for number in range(30)]
        for proof in tests:
            content = proof.model_dump_json().encode()
            for name, value in (("html", b"a page"), ("json.sig", sign(content, keys.private)), ("json", content)):
                repository.put_bytes(f"recovery_tests/{proof.id}/report.{name}", value)
        faults.requests.clear()

        found = past_proofs(repository, [keys.public], 24)

    assert found == tests[:-25:-1]
    assert len(faults.requests) == faults.count("GET") == 1 + 2 * 24
