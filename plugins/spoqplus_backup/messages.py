"""Every text that people read in the Airflow UI, the logs and Slack, in Korean and English.

Both catalogues have the same keys and the same `{fields}`; a test holds them to it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

Language = Literal["ko", "en"]

KOREAN: dict[str, str] = {
    # the stages' names, in the graph and in messages
    "stage.preflight": "사전 점검",
    "stage.dump": "덤프",
    "stage.archive": "아카이브",
    "stage.sync": "동기화",
    "stage.export": "환경 변수 추출",
    "stage.mirror": "업로드 미러",
    "stage.config_git": "설정 커밋",
    "stage.compress": "압축",
    "stage.encrypt": "암호화",
    "stage.upload": "업로드",
    "stage.verify": "검증",
    "stage.publish": "게시",
    "stage.notify": "알림",
    "stage.plan": "복원 계획",
    "stage.approve": "승인",
    "stage.fetch": "내려받기",
    "stage.load": "적재",
    "stage.apply_binlogs": "바이너리 로그 적용",
    "stage.rebuild": "서버 재구성",
    "stage.copy_tables": "테이블 복사",
    "stage.restore_files": "파일 복원",
    "stage.set_ownership": "소유자 설정",
    "stage.start_service": "서비스 시작",
    "stage.after_failure": "실패 시 결정",
    "stage.put_back": "되돌리기",
    "stage.verify_restore": "복원 검증",
    "group.safety_backup": "안전 백업",
    # the daily backup
    "backup.dag": "{site} 일일 백업",
    "backup.description": (
        "데이터베이스 전체와 파일을 덤프·압축·암호화하여 모든 저장소에 올리고 서명한 매니페스트를 게시합니다."
    ),
    "weekly.dag": "{site} 주간 백업",
    "weekly.description": "모든 것을 전체 백업하고, 저장소에 올린 오브젝트를 하나씩 다시 읽어 비교합니다.",
    "monthly.dag": "{site} 월간 백업",
    "monthly.description": (
        "전체 백업을 장기 보관 스토리지 클래스로 올리고, 설정한 저장소에서는 오브젝트 잠금으로 삭제를 막습니다."
    ),
    "restore.dag": "{site} 복원",
    "restore.description": "게시된 백업을 시험 서버나 운영 서버로 되돌립니다.",
    # what to do when a task fails
    "help.preflight": (
        "**실패하면** 로그에 잘못된 항목이 모두 나열됩니다(접속, 권한, 클라이언트 버전, 파일 경로, 빈 공간, 저장소, "
        "키). 고친 뒤 이 작업을 clear 하세요. 아직 아무것도 덤프하지 않았습니다."
    ),
    "help.dump": (
        "**실패하면** 로그에 mysqldump의 마지막 말이 있습니다. 원인을 없앤 뒤 이 작업만 clear 하면 처음부터 다시 "
        "덤프합니다. 다른 구성 요소에는 영향이 없습니다."
    ),
    "help.archive": (
        "설정한 경로를 GNU tar로 묶습니다. 읽는 사이 바뀌거나 사라진 파일은 실패가 아니라 주의 사항으로 알립니다. "
        "**실패하면** 로그에 tar의 마지막 말이나 잘못된 설정 항목이 나옵니다. 경로(마운트되어 있는지), 읽기 권한, "
        "디스크를 확인하고 이 작업만 clear 하면 처음부터 다시 묶습니다. 다른 구성 요소에는 영향이 없습니다."
    ),
    "help.sync": (
        "새 얼굴 이미지만 암호화해 모든 저장소에 올리고, 지금 있는 것의 색인을 남깁니다. 저장소의 것은 지우지 "
        "않습니다. **실패하면** 로그를 보세요: 폴더가 비었거나 마운트되지 않았거나 너무 많이 사라졌다면(보호 장치) "
        "원인을 먼저 확인하세요. 의도한 삭제라면 `faces.maximum_deletions`를 한 번만 올리고 이 작업을 clear 하세요. "
        "이미 올라간 것은 다시 보내지 않습니다."
    ),
    "help.export": (
        "사이트의 환경 변수 중 정해진 접두사의 것만 골라 암호화합니다. 디스크에 평문으로 남지 않습니다. **실패하면** "
        "로그에 읽지 못한 파일이나 프로세스, 맞지 않는 gpg 키가 나옵니다. 고친 뒤 이 작업을 clear 하세요."
    ),
    "help.mirror": (
        "업로드 폴더를 rsync로 미러링합니다. 세트는 이 작업을 기다리지 않습니다. **실패하면** 로그를 보세요: 원본이 "
        "비었거나 마운트되지 않았거나, 대상이 미러가 아니거나, 너무 많이 지워질 뻔했다면 아무것도 지우지 않았습니다. "
        "디스크를 확인하고 이 작업을 clear 하세요. 의도한 삭제라면 `mirror.maximum_deletions`를 한 번만 올리세요."
    ),
    "help.config_git": (
        "설정 파일이 바뀌었으면 오늘의 브랜치에 커밋합니다. 원격 저장소가 응답하지 않으면 다시 시도하고 끝내 안 되면 "
        "주의로만 남깁니다. **실패하면** 비밀 키가 든 파일이 로그에 나옵니다: `config_git.exclude`에 넣고 이 작업을 "
        "clear 하세요. 아무것도 커밋하지 않았습니다."
    ),
    "help.compress": (
        "**실패하면** 대개 디스크가 가득 찬 것입니다. 스테이징 디스크를 비우고 이 작업을 clear 하세요. 끝난 파트는 "
        "다시 압축하지 않고 덤프도 다시 하지 않습니다."
    ),
    "help.encrypt": (
        "**실패하면** 설정의 수신자(공개 키)나 비밀번호 연결을 확인하고 이 작업을 clear 하세요. 끝난 파트에서 이어 "
        "갑니다."
    ),
    "help.upload": (
        "**실패하면** 로그에 어느 저장소인지 나옵니다. 네트워크, 권한, 용량을 확인하고 이 작업만 clear 하세요. 이미 "
        "올라간 파트는 다시 보내지 않습니다."
    ),
    "help.verify": (
        "**실패하면** 로그에 빠졌거나 손상된 오브젝트와 저장소가 나옵니다. 해당 구성 요소의 upload 작업(얼굴 "
        "이미지라면 sync)을 clear 하면 다시 올리고 검증합니다."
    ),
    "help.publish": (
        "**실패하면** 서명 키와 저장소 쓰기 권한을 확인하고 이 작업을 clear 하세요. 매니페스트가 없는 백업은 복원에 "
        "쓰이지 않습니다."
    ),
    "help.notify": (
        "실행 결과를 Slack으로 알립니다. **빨간색이면** 이 작업이 아니라 앞의 작업이 실패한 것입니다: 로그에 이름이 "
        "있습니다. Slack에 보내지 못한 것은 경고로만 남습니다."
    ),
    "help.plan": (
        "매개변수를 검증하고 무엇을 어디에 덮어쓸지, 얼마나 걸릴지 로그에 적습니다. **실패하면** 로그의 문장대로 "
        "매개변수를 고쳐 새로 실행하세요. 아직 아무것도 바꾸지 않았습니다."
    ),
    "help.approve": (
        "운영 복원은 사람이 승인해야 합니다. 계획을 읽고 승인 또는 거절하세요. **실패하면** 거절되었거나 시간이 지난 "
        "것입니다: 새로 실행하세요."
    ),
    "help.fetch": (
        "백업을 내려받아 서명, 크기, 체크섬, 키를 모두 확인합니다. **실패하면** 서버에는 아직 한 문장도 보내지 "
        "않았습니다. 로그의 오브젝트를 확인하고, 다른 저장소(`repository`)로 새로 실행하거나 이 작업을 clear 하세요."
    ),
    "help.load": (
        "테이블별로 적재합니다. **실패하면** 원인을 없앤 뒤 이 작업을 clear 하세요. 끝난 테이블은 건너뜁니다. "
        "되돌리려면 먼저 만든 안전 백업을 복원하세요."
    ),
    "help.apply_binlogs": (
        "적재한 백업에 바이너리 로그를 목표 시점까지 적용합니다(시점을 주었을 때만). **실패하면** 로그에 서버가 거부한 "
        "문장이 있습니다. 원인을 없앤 뒤 이 작업을 clear 하면 이어서 적용하며 같은 것을 두 번 적용하지 않습니다. "
        "처음부터 다시 하려면 load 작업을 clear 하세요."
    ),
    "help.rebuild": (
        "재구성 복원에서만: 서비스를 멈추고 데이터 디렉터리를 옆으로 옮긴 뒤 빈 서버를 만듭니다. **실패하면** 로그의 "
        "원인(권한, 디스크, 서비스 명령)을 없애고 이 작업을 clear 하거나, after_failure에서 이전 디렉터리를 "
        "되돌리세요. 이전 데이터는 그대로 있습니다."
    ),
    "help.copy_tables": (
        "시점 복구한 테이블을 사설 서버에서 다른 스키마로 복사합니다(테이블과 시점을 함께 주었을 때만). **실패하면** "
        "대상 서버의 접속, 권한, 빈 공간을 확인하고 이 작업을 clear 하세요. 원본 테이블은 건드리지 않습니다."
    ),
    "help.start_service": (
        "재구성한 서버의 서비스를 시작합니다. **실패하면** 서버의 오류 로그와 시작 명령을 확인하고 이 작업을 clear "
        "하거나, after_failure에서 이전 디렉터리를 되돌리세요. 서버가 응답하기 전에는 이전 디렉터리를 지우지 않습니다."
    ),
    "help.restore_files": (
        "파일을 대상 옆에 풀어 모두 확인한 뒤 이름을 바꿔 제자리에 넣습니다(파일 구성 요소를 골랐을 때만). 있던 것은 "
        ".replaced-로 남습니다. **실패하면** 있던 파일은 그대로이거나 이미 되돌렸습니다. 로그의 원인(권한, 디스크, "
        "아카이브)을 없애고 이 작업을 clear 하세요. 수상한 이름이나 링크가 나왔다면 누가 그 백업을 만들었는지 먼저 "
        "알아내세요."
    ),
    "help.set_ownership": (
        "복원한 파일의 소유자와 권한을 설정 restore.ownership대로 맞춥니다. **실패하면** 이 서버에 그 사용자가 있는지, "
        "작업자가 root인지 확인하고 이 작업을 clear 하거나, after_failure에서 있던 파일을 되돌리세요."
    ),
    "help.after_failure": (
        "재구성이나 파일 복원이 옮겨 둔 것이 있는데 실패하면 사람에게 묻습니다: 있던 것을 되돌리거나, 그대로 두고 "
        "실패한 작업을 clear 하세요. **실패하면** 시간 안에 답이 없던 것입니다: 이 작업을 clear 하면 다시 묻습니다. "
        "재구성이었다면 그때까지 서비스는 멈춰 있습니다."
    ),
    "help.put_back": (
        "옮겨 둔 것을 되돌립니다. 이전 데이터 디렉터리라면 서비스를 시작하고 복원하던 것은 .failed- 폴더에 남기며, "
        "파일이라면 있던 파일을 제자리에 놓습니다. **실패하면** 로그의 원인을 없애고 이 작업을 clear 하세요. 중단된 "
        "곳부터 이어 갑니다."
    ),
    "help.verify_restore": (
        "매니페스트의 모든 오브젝트가 있고 행 수가 같은지, 모든 파일의 크기와 SHA-256이 색인과 같은지 확인합니다. "
        "**실패하면** 로그에 다른 것이 나열됩니다. 서버라면 load 작업을 clear 하거나 안전 백업을 복원하세요. "
        "파일이라면 있던 것은 이미 되돌렸으니 restore_files를 clear 하세요."
    ),
    # the restore's form
    "form.section.what": "일부만 복원",
    "form.section.where": "저장소와 스키마",
    "form.section.rebuild": "서버 재구성",
    "form.rebuild": "서버를 처음부터 다시 만들기",
    "form.rebuild.help": (
        "서비스를 멈추고 데이터 디렉터리를 옆으로 옮긴 뒤 새 서버를 만들어 전체를 복원합니다. 서버가 죽어 있어도 "
        "됩니다. 시점을 주지 않으면 아직 보관하지 않은 마지막 로그까지 적용합니다. 설정 restore.rebuild가 필요하며, "
        "안전 백업 대신 이전 디렉터리가 남습니다."
    ),
    "form.section.point": "시점 복구",
    "form.section.find": "문제의 트랜잭션 찾기",
    "form.to_time": "이 시각까지",
    "form.to_time.help": (
        "예: 2026-01-31T14:05:09+09:00, 또는 latest(보관된 로그의 끝). "
        "이 시각보다 늦게 찍힌 첫 트랜잭션 앞까지 복원합니다. 시간대를 쓰지 않으면 "
        "{zone} 시각입니다. 아래 두 칸과 함께 쓸 수 없습니다."
    ),
    "form.to_gtid": "이 트랜잭션까지",
    "form.to_gtid.help": "GTID(MariaDB 0-1-4711, MySQL uuid:23)나 위치(binlog.000012:4711). 그 트랜잭션도 포함합니다.",
    "form.before_gtid": "이 트랜잭션 직전까지",
    "form.before_gtid.help": (
        "GTID 또는 위치 binlog.000012:4711. 그 트랜잭션은 포함하지 않습니다. 잘못 실행한 문장의 GTID는 아래 찾기로 "
        "알 수 있습니다."
    ),
    "form.find_tables": "찾을 테이블",
    "form.find_tables.help": (
        "한 줄에 하나씩 데이터베이스.테이블(*와 ? 사용 가능). 적으면 복원하지 않고, 이 테이블을 바꾼 트랜잭션을 plan "
        "작업의 로그에 나열하고 끝납니다."
    ),
    "form.find_kinds": "찾을 종류",
    "form.find_kinds.help": "비워 두면 delete, drop, truncate를 찾습니다. ddl은 정의를 바꾸는 모든 문장입니다.",
    "form.find_since": "이 시각부터 찾기",
    "form.find_since.help": "예: 2026-01-31T14:00+09:00. 비워 두면 보관된 모든 로그에서 찾습니다.",
    "form.section.files": "파일",
    "form.paths": "파일 이름이나 패턴",
    "form.paths.help": (
        "한 줄에 하나씩. 예: uploads/2026/*, /var/www/html/.env. *와 ?는 폴더를 넘어갑니다. 폴더를 적으면 그 안의 것도 "
        "모두 복원합니다. 파일 구성 요소 하나에만 쓸 수 있고, 비워 두면 전체를 복원하며 그 뒤에 생긴 것은 사라집니다."
    ),
    "form.target_root": "다른 위치로",
    "form.target_root.help": (
        "예: /restore. 파일을 원래 자리 대신 이 폴더 아래에 복원합니다. 비워 두면 운영은 원래 자리, 시험은 설정 "
        "restore.files_root(없으면 스테이징 아래)입니다. 시험 환경은 운영 파일을 절대 건드리지 않습니다."
    ),
    "form.environment": "대상 환경",
    "form.environment.help": "test는 시험 서버로, production은 계획을 보고 승인한 뒤 운영 서버로 복원합니다.",
    "form.environment.test": "시험 서버",
    "form.environment.production": "운영 서버 (승인 필요)",
    "form.backup": "백업",
    "form.backup.help": (
        "latest, 날짜 YYYYMMDD(그날의 가장 새 백업), 아이디 YYYYMMDD_HHMMSS, 또는 daily/YYYYMMDD_HHMMSS."
    ),
    "form.repository": "저장소",
    "form.repository.help": "비워 두면 설정 순서대로 첫 번째로 쓸 수 있는 저장소에서 읽습니다.",
    "form.repository.any": "자동",
    "form.components": "구성 요소",
    "form.components.help": "복원할 구성 요소입니다. 비워 두면 데이터베이스 전체입니다.",
    "form.component.database": "데이터베이스 전체",
    "form.component.accounts": "계정과 권한",
    "form.component.critical_tables": "중요 테이블",
    "form.component.face_encodings": "얼굴 인코딩",
    "form.component.uploads": "업로드 파일",
    "form.component.logs": "로그 파일",
    "form.component.config": "설정 파일",
    "form.component.face_images": "얼굴 이미지",
    "form.component.environment": "환경 변수",
    "form.tables": "테이블",
    "form.tables.help": "한 줄에 하나씩 데이터베이스.테이블. 비워 두면 구성 요소 전체를 복원합니다.",
    "form.into_schema": "다른 스키마로",
    "form.into_schema.help": (
        "이름을 적으면 원본을 건드리지 않고 그 이름의 스키마로 복원합니다. 데이터베이스 하나에만 쓸 수 있습니다."
    ),
    "form.dry_run": "계획만",
    "form.dry_run.help": "켜면 계획을 로그에 적고 끝납니다. 아무것도 바꾸지 않습니다.",
    "form.safety_backup": "안전 백업",
    "form.safety_backup.help": "운영 복원 전에, 덮어쓸 것을 먼저 백업합니다. 급하지 않으면 켜 두세요.",
    "approve.subject": "{site} 운영 서버 복원을 승인하시겠습니까?",
    # the plan of a restore
    "plan.title": "{site} 복원 계획",
    "plan.backup": "백업",
    "plan.repository": "저장소",
    "plan.target": "대상",
    "plan.components": "구성 요소",
    "plan.into_schema": "다른 스키마로",
    "plan.fetch": "내려받기",
    "plan.load": "적재",
    "plan.load.amount": "SQL {size}, 행 {rows}개, 오브젝트 {objects}개",
    "plan.point": "복원 시점",
    "plan.point.to_time": "{time}까지",
    "plan.point.to_gtid": "`{gtid}` 트랜잭션까지(포함)",
    "plan.point.before_gtid": "`{gtid}` 트랜잭션 직전까지",
    "plan.point.zone": "시간대를 쓰지 않아 {zone} 시각으로 읽었습니다",
    "plan.replay": "바이너리 로그 적용",
    "plan.replay.amount": (
        "트랜잭션 {transactions}개, 마지막 {last}; 로그 {logs}개({first} {start}부터 {final} {stop}까지, {size}, "
        "타임라인 {timeline}), 약 {seconds}"
    ),
    "plan.replay.end": "끝",
    "plan.replay.nothing": "없음",
    "plan.back": (
        "로그의 시각이 최대 {seconds}초 뒤로 갑니다(서버 시계가 바뀌었거나 오래 걸린 문장). 로그에 적힌 순서를 따르며, "
        "목표보다 늦게 찍힌 첫 트랜잭션 앞에서 멈춥니다."
    ),
    "plan.place": "방법",
    "plan.place.rebuild": "**서버를 처음부터 다시 만들기** (서비스 중단)",
    "plan.place.sandbox": "사설 서버에서 시점까지 적용한 뒤 테이블만 복사",
    "plan.point.end": "보관된 마지막 로그의 끝",
    "difference.title": "{site}: 복원한 시점과 지금의 차이",
    "difference.table": "테이블",
    "difference.only_restored": "지금은 없음",
    "difference.only_current": "그 뒤에 생김",
    "difference.changed": "바뀜",
    "difference.same": "같음",
    "difference.samples": "예(기본 키)",
    "after_failure.subject": "{site} 복원이 실패했습니다. 있던 것을 되돌릴까요?",
    "after_failure.body": (
        "옮겨 둔 이전 데이터 디렉터리와 파일은 그대로 있습니다. 서버 재구성이었다면 서비스는 멈춰 있고, 되돌리면 복원 "
        "전의 서버가 다시 시작됩니다. 실패한 작업을 고쳐 계속하려면 그대로 두고 그 작업을 clear 하세요."
    ),
    "after_failure.put_back": "있던 것을 되돌립니다",
    "after_failure.leave": "그대로 둡니다. 실패한 작업을 clear 하겠습니다",
    "plan.windows": "도달할 수 있는 구간",
    "plan.window": "`{backup}`: {start}부터 {end}까지",
    "plan.unreachable": "도달할 수 없음: {start}부터 {end}까지 ({reason})",
    "find.title": "{site}: 찾은 트랜잭션 {count}개",
    "find.nothing": "찾는 트랜잭션이 없습니다.",
    "find.at": "시각",
    "find.point": "before_gtid에 쓸 값",
    "find.table": "테이블",
    "find.rows": "행",
    "find.statement": "문장",
    "find.effort": (
        "로그 {logs}개 중 {read}개를 읽었습니다(받은 양 {fetched}, 읽은 양 {size}, 트랜잭션 {transactions}개)."
    ),
    "find.more": "{limit}개까지만 보여 줍니다. 더 좁혀서 다시 찾으세요.",
    "plan.duration": "예상 시간",
    "plan.overwrites": "덮어쓰는 것 {count}개",
    "plan.overwrites.nothing": "덮어쓰는 것이 없습니다.",
    "plan.warnings": "주의",
    "plan.files.amount": "파일",
    "plan.files.amount.of": "{files}개, {size}",
    "plan.files.archives": "백업 순서",
    "plan.files.root": "위치",
    "plan.files.paths": "고른 것",
    "plan.files.duration": "예상 시간",
    "plan.files.nothing": "그 자리에 있는 것이 없습니다.",
    "plan.files.replaces": (
        "바뀌는 것: {places}. 지금 있는 것은 통째로 옆에 두었다가(.replaced-) 검증이 끝나면 지웁니다."
    ),
    "plan.files.replaces.chosen": (
        "{places}에서 고른 파일만 바뀝니다. 지금 있는 것은 옆에 두었다가(.replaced-) 검증이 끝나면 지웁니다."
    ),
    "plan.files.deleted": "백업 전에 지워져 복원하지 않는 것 {count}개: {names}",
    # the log
    "log.stage": "{stage} {component}: 파트 {parts}개, {sizes}, {seconds}, {rate}/s",
    "log.asked_already": (
        "{run} 실행이 이미 이 저장소의 삭제 승인을 기다리거나 지우는 중이므로 다시 묻지 않습니다. 다른 저장소는 "
        "계속합니다."
    ),
    "log.dry_run": "계획만 세우는 실행이므로 여기서 끝납니다.",
    "log.nothing_overwritten": "복원이 덮어쓸 것이 없어 안전 백업이 필요하지 않습니다.",
    "log.no_target": "복원할 시점을 주지 않았으므로 적용할 바이너리 로그가 없습니다.",
    "log.no_rebuild": "되돌리거나 다시 만들 서버가 없습니다.",
    "log.no_copy": "다른 스키마로 복사할 테이블이 없습니다.",
    "log.no_files": "복원할 파일이 없습니다.",
    "restore.kept_aside": "보관된 이전 파일: {paths}. 지우려면: spoqplus-backup restore --drop {run}",
    "log.not_put_back": "옮겨 둔 것을 그대로 둡니다.",
    "log.found": "찾기만 하는 실행이므로 여기서 끝납니다.",
    "log.approved": "{user} 님이 {time}에 승인했습니다.",
    "log.slack_failed": "Slack에 알리지 못했습니다({attempts}번 시도): {error}. 백업 결과에는 영향이 없습니다.",
    "log.slack_sent": "Slack에 알렸습니다.",
    "log.slack_off": "Slack 연결이 설정되지 않아 알리지 않습니다.",
    "warning.config_git.exposed": (
        "git 원격의 브랜치 {branch}와 그 이전 브랜치에 이제 제외하는 파일이 있습니다. 새 브랜치는 그 기록 없이 "
        "시작합니다. 원격에서 그 브랜치들을 지우고, 파일에 든 비밀을 바꾸세요."
    ),
    "warning.config_git": "설정이 git에 커밋되지 않았습니다(암호화된 아카이브에는 있습니다): {error}",
    # errors of the operators
    "error.run_failed": (
        "실행이 실패했습니다: {tasks}. 이 작업은 알리기만 합니다. 실패한 작업을 고친 뒤 그 작업을 clear 하세요."
    ),
    "error.not_approved": (
        "운영 복원의 승인 기록이 없습니다: approve 작업을 clear 하고 계획을 읽은 뒤 승인하세요. 아무것도 바꾸지 "
        "않았습니다."
    ),
    "error.not_answered": (
        "{hours}시간 안에 아무도 답하지 않아 아무것도 옮기지 않았습니다: 서비스는 멈춰 있고 이전 데이터 디렉터리는 "
        "그대로 남아 있습니다. after_failure 작업을 clear 하여 다시 답하거나, 데이터베이스 서버에서 "
        "`spoqplus-backup restore --put-back {run}`을 실행하거나, 실패한 작업을 고쳐 clear 하세요."
    ),
    "error.plan_changed": (
        "승인한 뒤 계획이 다시 세워졌습니다: approve 작업을 clear 하고 새 계획을 승인하세요. 아무것도 바꾸지 "
        "않았습니다."
    ),
    "error.no_safety_backup": (
        "안전 백업이 게시되지 않았습니다: safety_backup 작업을 clear 하세요. 아무것도 바꾸지 않았습니다."
    ),
    "error.unknown": "메시지 없이 끝났습니다(강제 종료, 시간 초과 또는 거절): 로그를 보세요.",
    # Slack
    "slack.backup.succeeded": "✅ {site} 백업 완료",
    "slack.backup.failed": "❌ {site} 백업 실패",
    "slack.restore.succeeded": "✅ {site} 복원 완료",
    "slack.restore.failed": "❌ {site} 복원 실패",
    "slack.set": "백업",
    "slack.size": "크기 (저장 / 원본)",
    "slack.change": "지난 백업 대비",
    "slack.first": "첫 백업",
    "slack.duration": "걸린 시간",
    "slack.coordinates": "좌표",
    "slack.components": "구성 요소",
    "slack.stages": "단계별 시간",
    "slack.warnings": "주의",
    "slack.failures": "실패한 작업",
    "slack.run": "실행 보기",
    "slack.log": "로그 보기",
    "slack.environment": "대상 환경",
    "slack.approved_by": "승인",
    "slack.safety_set": "안전 백업",
    "slack.point": "복원된 시점",
    "slack.point.reached": "{time} {gtid}(트랜잭션 {transactions}개 적용)",
    "slack.point.snapshot": "백업 시점 그대로(적용할 트랜잭션 없음)",
    "slack.after_failure": "🛑 {site} 복원 실패: 결정이 필요합니다",
    "slack.after_failure.help": (
        "서버 재구성이었다면 서비스는 멈춰 있습니다. 실행의 after_failure 작업에서 있던 것을 되돌리거나, 실패한 작업을 "
        "고쳐 clear 하세요."
    ),
    "slack.put_back": "되돌렸습니다",
    "slack.put_back.done": "이전 데이터 디렉터리가 다시 {data}입니다. 복원하던 것은 {failed}에 있습니다.",
    "slack.put_back.files": "있던 파일을 되돌렸습니다: {names}.",
    "slack.own_logs": "보관되지 않았던 서버의 로그: {logs}",
    "slack.differences": "그때와 지금의 행",
    "slack.difference": "지금은 없음 {only_restored} · 그 뒤에 생김 {only_current} · 바뀜 {changed} · 같음 {same}",
    "slack.more": "외 {count}건",
    "slack.rto": "복구 목표 {hours}시간",
    # the archive of binary logs and the incremental backup
    "stage.rotate": "로그 전환",
    "stage.list_logs": "로그 목록",
    "stage.full_backup": "전체 백업 요청",
    "stage.check_chain": "연속성 확인",
    "stage.publish_incremental": "증분 게시",
    "group.archive": "바이너리 로그 보관",
    "archive.dag": "{site} 바이너리 로그 보관",
    "archive.description": (
        "닫힌 바이너리 로그를 가져와 압축·암호화하고 모든 저장소에 올려, 잃을 수 있는 데이터를 한 시간 안으로 줄입니다."
    ),
    "incremental.dag": "{site} 증분 백업",
    "incremental.description": (
        "지난 백업 이후의 바이너리 로그를 모두 보관하고 빠짐없이 이어지는지 증명한 뒤 세트로 게시합니다."
    ),
    "help.archive.rotate": (
        "**실패하면** 서버 접속과 권한(REPLICATION SLAVE, RELOAD 등), log_bin 설정을 확인하고 이 작업을 "
        "clear 하세요. 서버의 로그는 절대 지우지 않으며, 다음 실행이 이어서 합니다."
    ),
    "help.archive.list_logs": (
        "아직 보관하지 않은 로그를 찾고, 보관한 로그에 이어지는지 봅니다. **실패하면** 로그에 나온 서버나 "
        "저장소의 접속을 확인하고 이 작업을 clear 하세요. 사이드카의 서명이 틀렸다면 누가 저장소에 썼는지 "
        "먼저 알아내세요."
    ),
    "help.archive.fetch": (
        "**실패하면** 로그에 mysqlbinlog의 마지막 말이 있습니다. 원인(네트워크, 디스크, 서버 중단)을 없애고 "
        "이 작업을 clear 하면 남은 로그부터 이어 갑니다. 로그가 서버에 더 이상 없다면 list_logs를 clear "
        "하세요."
    ),
    "help.archive.compress": (
        "**실패하면** 대개 스테이징 디스크가 가득 찬 것입니다. 비우고 이 작업을 clear 하세요. 끝난 로그는 "
        "다시 하지 않습니다."
    ),
    "help.archive.encrypt": (
        "**실패하면** 설정의 수신자(공개 키)나 비밀번호 연결, 디스크를 확인하고 이 작업을 clear 하세요. 끝난 "
        "로그에서 이어 갑니다."
    ),
    "help.archive.upload": (
        "**실패하면** 로그에 어느 저장소인지 나옵니다. 다른 저장소에는 이미 올라갔고, 로그는 모든 저장소에 "
        "갈 때까지 스테이징에 남습니다. 네트워크, 권한, 용량을 확인하고 이 작업을 clear 하거나 다음 실행을 "
        "기다리세요."
    ),
    "help.archive.verify": (
        "**실패하면** 로그에 빠졌거나 바뀐 오브젝트와 저장소가 나옵니다. upload 작업을 clear 하면 다시 "
        "올리고 검증합니다. 서명이 틀렸다면 누가 저장소에 썼는지 먼저 알아내세요."
    ),
    "help.full_backup": (
        "로그가 끊겼을 때만 일일 백업을 바로 시작하게 합니다. 끊기지 않았으면 건너뜁니다. **실패하면** 일일 "
        "백업 DAG을 직접 실행하세요: 그때까지는 끊긴 뒤의 시점으로 복원할 수 없습니다."
    ),
    "help.check_chain": (
        "**실패하면** 로그가 끊긴 것입니다: 로그에 이유와 복원할 수 없는 시간이 나옵니다. 고칠 수는 "
        "없습니다. full_backup이 요청한 일일 백업이 초록색이 되는지 확인하고, 누가 왜 로그를 지우거나 "
        "초기화했는지 알아내세요."
    ),
    "help.publish_incremental": (
        "**실패하면** 로그에 없는 로그, 바뀐 사이드카, 또는 끊긴 곳이 나옵니다. 저장소에 쓸 수 없었던 "
        "것이라면 고친 뒤 이 작업을 clear 하세요. 사슬이 끊긴 것이라면 일일 백업을 실행하세요."
    ),
    "form.component.binlog": "바이너리 로그",
    "log.no_gap": "로그가 끊기지 않았으므로 전체 백업을 요청하지 않습니다.",
    "log.full_backup": "로그가 끊겨 {dag}에 전체 백업을 요청합니다: {words}",
    "log.nothing_to_tell": "알릴 것이 없어 Slack에 보내지 않습니다.",
    "gap.unknown": "알 수 없음",
    "error.gap": (
        "바이너리 로그가 끊겼습니다: {words} {lost_from}부터 {lost_until}까지는 로그로 복원할 수 없고, "
        "요청한 전체 백업이 끝날 때까지는 그 뒤도 복원할 수 없습니다."
    ),
    "slack.archive.failed": "❌ {site} 바이너리 로그 보관 실패",
    "slack.archive.gap": "🚨 {site} 바이너리 로그가 끊겼습니다",
    "slack.archive.late": "⏰ {site} 바이너리 로그 보관이 늦습니다",
    "slack.archive.warned": "⚠️ {site} 바이너리 로그 보관: 새 주의 사항",
    "slack.incremental.succeeded": "✅ {site} 증분 백업 완료",
    "slack.incremental.nothing": "✅ {site} 증분 백업: 새로 쓰인 것 없음",
    "slack.incremental.failed": "❌ {site} 증분 백업 실패",
    "slack.gap": (
        "{words}\n*복원할 수 없는 구간*: {lost_from} – {lost_until}\n전체 백업을 바로 요청했습니다. 그것이 "
        "끝나야 다시 시점 복원을 할 수 있습니다."
    ),
    "slack.follows": "앞 백업",
    "slack.covers": "담은 구간",
    "slack.logs": "로그",
    "slack.logs.amount": "로그 {logs}개, 트랜잭션 {transactions}개",
    "slack.rpo": "측정된 RPO",
    "slack.complete_until": "빠짐없이 보관된 시점",
    # the replication
    "stage.list_sets": "백업 목록",
    "stage.copy_sets": "백업 복사",
    "stage.copy_logs": "로그 복사",
    "replication.dag": "{site} 복제",
    "replication.description": (
        "게시된 백업과 바이너리 로그를 서버에 다시 묻지 않고 저장소에서 복제 저장소로 복사하고 확인합니다."
    ),
    "help.list_sets": (
        "복제 저장소마다 없는 백업을 찾습니다. 그 저장소의 보관 기간이 곧 지울 것은 빼고, 최신부터 한 번에 "
        "20개까지입니다. **실패하면** 로그에 나온 저장소의 접속을 확인하고 이 작업을 clear 하세요."
    ),
    "help.copy_sets": (
        "백업을 하나씩 복사하고 확인한 뒤 매니페스트를 마지막에 씁니다. **실패하면** 다른 백업은 그대로 복사됩니다. "
        "로그에 나온 손상된 오브젝트나 저장소를 확인하고 이 작업을 clear 하면 이어서 복사합니다. 그대로 두면 다음 "
        "실행이 다시 복사합니다. 모든 저장소에서 손상된 백업은 하루 뒤입니다. 같은 이름의 다른 백업이 있다고 하면, "
        "누가 그 저장소에 썼는지 알아내고 그것을 먼저 옮기세요."
    ),
    "help.copy_logs": (
        "복제 저장소에 없는 바이너리 로그를 복사합니다. **실패하면** 로그에 나온 저장소나 손상된 로그를 확인하고 이 "
        "작업을 clear 하거나 다음 실행을 기다리세요."
    ),
    "form.sets": "복사할 백업",
    "form.sets.help": (
        "한 줄에 하나씩 daily/YYYYMMDD_HHMMSS. 비워 두면 복제 저장소의 가장 새 백업보다 새로운 것을 모두 복사합니다."
    ),
    "log.copied": "백업 {sets}개를 복사했습니다: 오브젝트 {objects}개, {size}, {seconds}",
    "slack.replication.succeeded": "✅ {site} 복제 완료",
    "slack.replication.failed": "❌ {site} 복제 실패",
    "slack.sent": "보낸 양",
    # the list of backups
    "list.backup": "백업",
    "list.copies": "저장소",
    "list.media": "매체",
    "list.offsite": "오프사이트",
    "list.rule": "3-2-1 규칙",
    "list.size": "크기 (저장 / 원본)",
    "list.time": "걸린 시간",
    "list.contents": "내용",
    "list.holds": "지킴",
    "list.broken": "어김: {missing}",
    "list.lacks.copies": "사본 {count}/3",
    "list.lacks.media": "매체 {count}/2",
    "list.lacks.offsite": "오프사이트 없음",
    "list.total": "백업 {count}개, 그중 3-2-1 규칙을 지키는 것 {good}개 (운영 서버도 사본 하나로 셉니다: {medium}).",
    "list.unusable": "사용할 수 없음: {problem}",
    "list.held": "보존 지정: {words}",
    "list.differs": "저장소마다 매니페스트의 크기가 다릅니다: 누가 바꾸었는지 알아내세요.",
    # retention
    "stage.delete": "삭제",
    "stage.report": "보고",
    "retention.dag": "{site} 보관 기간 정리",
    "retention.description": "보관 규칙이 지난 백업과 로그를 계획을 먼저 보여 준 뒤 저장소마다 지웁니다.",
    "help.retention.plan": (
        "저장소에서 무엇이 남고 무엇이 지워지는지, 이유와 함께 표로 로그에 적습니다. 아직 아무것도 지우지 않습니다. "
        "**실패하면** 저장소에 접속할 수 없거나 전부 읽지 못한 것입니다: 그럴 때는 아무것도 정하지 않습니다. 접속과 "
        "권한(include/aws/pruner.json)을 확인하고 이 작업을 clear 하세요."
    ),
    "help.retention.approve": (
        "한 번에 지울 양이 설정(retention.maximum_share)보다 많을 때만 사람에게 묻습니다. 표를 읽고 승인 또는 "
        "거절하세요. **실패하면** 거절되었거나 시간이 지난 것입니다: 이 저장소에서는 아무것도 지우지 않았습니다. 다음 "
        "실행이 다시 묻습니다."
    ),
    "help.retention.delete": (
        "계획한 것 가운데 지금도 지워야 할 것만 지웁니다. 백업은 매니페스트부터 지웁니다. **실패하면** 로그에 저장소가 "
        "거부한 것이 나옵니다(권한, 잠금, 장애). 다른 저장소와 나머지 삭제는 끝났습니다. 원인을 없애고 이 작업을 clear "
        "하면 남은 것부터 이어 갑니다."
    ),
    "help.retention.report": (
        "무엇을 지웠는지 적고, 저장소마다 가장 새 백업이 그대로 있는지 확인합니다. **실패하면** 로그에 나온 백업이 "
        "없거나 손상된 것입니다: 다른 저장소의 것을 확인하고 바로 새 백업을 실행하세요."
    ),
    "form.retention.dry_run.help": "켜면 저장소마다 계획만 로그에 적고 끝납니다. 아무것도 지우지 않습니다.",
    "retention.title": "{site} 보관 기간 정리 계획: {repository}",
    "retention.counts": "지울 것 {delete}개({size}), 남길 것 {keep}개. 지울 비율 {share}(승인 없이 {maximum}까지).",
    "retention.needs_approval": "승인 없이 지울 수 있는 것보다 많습니다: 사람이 승인해야 합니다.",
    "retention.nothing_good": (
        "복구할 수 있는 백업이 하나도 없습니다. 로그와 백업을 지우지 않습니다: 바로 전체 백업을 실행하세요."
    ),
    "retention.unread": "{repository}에 접속할 수 없어 그곳에만 적힌 보존 지정은 알 수 없습니다.",
    "retention.delete": "지울 것",
    "retention.keep": "남길 것",
    "retention.column.what": "무엇",
    "retention.column.at": "시각",
    "retention.column.size": "크기",
    "retention.column.why": "이유",
    "retention.kind.unfinished": "끝나지 않음",
    "retention.kind.upload": "끊긴 업로드",
    "retention.reason.untrusted": "읽거나 믿을 수 없어 지우지 않음: {detail}",
    "retention.reason.future": "시계가 틀려 미래 시각({detail})으로 남아 세지도 지우지도 않음",
    "retention.reason.hold": "보존 지정: {detail}",
    "retention.reason.lease": "사용 중: {detail}",
    "retention.reason.locked": "버킷이 {detail}까지 잠금",
    "retention.reason.young": "최소 보관 시간이 지나지 않음",
    "retention.reason.newest": "{detail}의 가장 새 백업",
    "retention.reason.newest_full": "데이터베이스가 있는 가장 새 백업",
    "retention.reason.days": "정상 백업이 있는 최근 {detail}일",
    "retention.reason.daily": "일별 {detail}",
    "retention.reason.weekly": "주별 {detail}",
    "retention.reason.monthly": "월별 {detail}",
    "retention.reason.safety": "최근 {detail}일의 안전 백업",
    "retention.reason.point_in_time": "시점 복구 구간({detail}부터)",
    "retention.reason.no_rule": "{detail}에 대한 규칙이 없음",
    "retention.reason.damaged": "손상됨: {detail} 없음",
    "retention.reason.needed": "{detail}에 필요함",
    "retention.reason.may_be_needed": "믿을 수 없는 {detail}에 필요할 수 있음",
    "retention.reason.newest_log": "서버의 가장 새 로그",
    "retention.reason.behind": "남는 로그 {detail}의 뒤",
    "retention.reason.no_full": "로그가 이어질 전체 백업이 없음",
    "retention.reason.under_way": "아직 진행 중일 수 있음 {detail}",
    "retention.reason.faces_needed": "남는 백업이 쓰는 얼굴 이미지 {detail}개",
    "retention.reason.forever": "설정에 따라 지우지 않음",
    "retention.reason.expired": "보관 규칙이 지남",
    "retention.reason.not_needed": "시점 복구 구간({detail}부터)보다 앞",
    "retention.reason.faces_not_needed": "어느 백업도 쓰지 않는 얼굴 이미지 {detail}개",
    "retention.reason.abandoned": "끝나지 않은 채 버려짐",
    "retention.report": (
        "{repository}: 백업 {sets}개, 로그 {logs}개, 끝나지 않은 것 {unfinished}개, 끊긴 업로드 {uploads}개, 얼굴 "
        "이미지 {faces}개 삭제, {size} 확보"
    ),
    "retention.approve.subject": "{site}: {repository}에서 평소보다 많이 지워도 될까요?",
    "error.refused": "저장소 {repository}이(가) {count}건을 지우지 못하게 했습니다. 나머지는 지웠습니다. {words}",
    "error.retention_not_approved": (
        "이렇게 많이 지우는 데 대한 승인 기록이 없습니다: approve 작업을 clear 하고 계획을 읽은 뒤 승인하세요. "
        "아무것도 지우지 않았습니다."
    ),
    "slack.retention.succeeded": "🧹 {site} 보관 기간 정리 완료",
    "slack.retention.failed": "❌ {site} 보관 기간 정리 실패",
    "slack.retention.approve": "✋ {site}: {repository} 삭제 승인이 필요합니다",
    "slack.retention.approve.help": (
        "{count}개({size}), 저장소의 {share}를 지우려고 합니다. 실행의 approve 작업에서 계획을 읽고 승인 또는 "
        "거절하세요. 그때까지 이 저장소에서는 아무것도 지우지 않습니다."
    ),
    "slack.retention.problems": "사람이 봐야 할 것",
    "slack.retention.refused": "지우지 못한 것",
    "slack.freed": "확보한 공간",
}

ENGLISH: dict[str, str] = {
    "stage.preflight": "Preflight",
    "stage.dump": "Dump",
    "stage.archive": "Archive",
    "stage.sync": "Sync",
    "stage.export": "Export",
    "stage.mirror": "Uploads mirror",
    "stage.config_git": "Configuration to git",
    "stage.compress": "Compress",
    "stage.encrypt": "Encrypt",
    "stage.upload": "Upload",
    "stage.verify": "Verify",
    "stage.publish": "Publish",
    "stage.notify": "Notify",
    "stage.plan": "Plan",
    "stage.approve": "Approve",
    "stage.fetch": "Fetch",
    "stage.load": "Load",
    "stage.apply_binlogs": "Apply binary logs",
    "stage.rebuild": "Rebuild the server",
    "stage.copy_tables": "Copy tables",
    "stage.restore_files": "Restore files",
    "stage.set_ownership": "Set ownership",
    "stage.start_service": "Start the service",
    "stage.after_failure": "Decide after a failure",
    "stage.put_back": "Put back",
    "stage.verify_restore": "Verify the restore",
    "group.safety_backup": "Safety backup",
    "backup.dag": "{site} daily backup",
    "backup.description": (
        "Dumps every database, archives the files, compresses and encrypts both, sends them to all repositories and "
        "publishes a signed manifest."
    ),
    "weekly.dag": "{site} weekly backup",
    "weekly.description": (
        "Backs up everything in full, then reads every object back from every repository and compares."
    ),
    "monthly.dag": "{site} monthly backup",
    "monthly.description": (
        "Sends a full backup to the long-term storage class, locked against deletion where the repository is set to."
    ),
    "restore.dag": "{site} restore",
    "restore.description": "Brings a published backup back to the test or the production server.",
    "help.preflight": (
        "**When it fails** its log lists everything that is wrong (connection, privileges, client version, paths of "
        "files, free space, repositories, keys). Put it right and clear this task. Nothing has been dumped yet."
    ),
    "help.dump": (
        "**When it fails** its log ends in mysqldump's own words. Remove the cause and clear this task: it dumps this "
        "component again from the start, and no other."
    ),
    "help.archive": (
        "Archives the configured paths with GNU tar. Files that change or vanish while they are read are a warning, no "
        "failure. **When it fails** its log ends in tar's own words, or names the setting. Check the paths (are they "
        "mounted?), the permissions and the disk, then clear this task alone: it archives from the beginning. Other "
        "components are not affected."
    ),
    "help.sync": (
        "Encrypts new face images, sends them to every repository, and leaves an index of what is there now. It "
        "deletes nothing in a repository. **When it fails** read its log: if the folder is empty, not mounted or has "
        "lost too much (the guard), find out why first. If the deletion is meant, raise `faces.maximum_deletions` for "
        "one run and clear this task. What was sent already is not sent again."
    ),
    "help.export": (
        "Keeps the variables of the site's environment that have the configured prefixes, encrypted; they never lie on "
        "the disk readable. **When it fails** its log names the file or process that can't be read, or the gpg key "
        "that does not fit. Put it right and clear this task."
    ),
    "help.mirror": (
        "Mirrors the uploads with rsync. The set does not wait for it. **When it fails** read its log: if the source "
        "is empty or not mounted, the target is not the mirror, or too much would have been deleted, nothing was "
        "deleted. Look after the disks and clear this task. If the deletion is meant, raise `mirror.maximum_deletions` "
        "for one run."
    ),
    "help.config_git": (
        "Commits the configuration to today's branch when it changed. A remote that does not answer is tried again, "
        "and is only a warning in the end. **When it fails** its log names the file that holds a private key: put it "
        "into `config_git.exclude` and clear this task. Nothing was committed."
    ),
    "help.compress": (
        "**When it fails** the disk is usually full. Make room on the staging disk and clear this task: finished parts "
        "are kept and nothing is dumped again."
    ),
    "help.encrypt": (
        "**When it fails** check the recipients (public keys) or the password's connection, then clear this task: it "
        "goes on from the finished parts."
    ),
    "help.upload": (
        "**When it fails** its log names the repository. Check the network, the permissions and the space there, and "
        "clear this task alone: parts that arrived are not sent again."
    ),
    "help.verify": (
        "**When it fails** its log names the missing or damaged object and its repository. Clear the upload of that "
        "component (of face images, sync): it sends what is wrong again, and this task follows."
    ),
    "help.publish": (
        "**When it fails** check the signing key and the right to write to the repositories, then clear this task. A "
        "set without a manifest is never used by a restore."
    ),
    "help.notify": (
        "Reports the result to Slack. **When it is red** it is not this task that failed but one before it: its log "
        "says which. A Slack that can't be reached is a warning in the log, nothing more."
    ),
    "help.plan": (
        "Validates the parameters and writes to its log what will be overwritten and how long it should take. **When "
        "it fails** correct the parameter its log names and trigger a new run. Nothing has been changed yet."
    ),
    "help.approve": (
        "A person has to agree before production is overwritten: read the plan, then approve or reject it. **When it "
        "fails** it was rejected or nobody answered in time: trigger a new run."
    ),
    "help.fetch": (
        "Brings the set here and checks signature, sizes, checksums and key. **When it fails** no statement has "
        "reached the server. Look at the object its log names; run again from another `repository`, or clear this task."
    ),
    "help.load": (
        "Loads table by table. **When it fails** remove the cause and clear this task: finished tables are skipped. To "
        "go back, restore the safety backup that was taken before."
    ),
    "help.apply_binlogs": (
        "Replays the binary logs on the loaded backup, up to the target (only when there is one). **When it fails** "
        "its log has the statement that the server refused. Remove the cause and clear this task: it goes on, and no "
        "transaction is applied twice. To begin anew, clear load."
    ),
    "help.rebuild": (
        "Only when a server is rebuilt: stops its service, moves the data directory aside and makes an empty server. "
        "**When it fails** remove the cause that its log names (rights, disk, the service's command) and clear this "
        "task, or put the old directory back on after_failure. The old data are all there."
    ),
    "help.copy_tables": (
        "Copies tables from the private server, where they were rolled forward, into the other schema (only with "
        "tables and a point in time). **When it fails** check the target's connection, privileges and space, and "
        "clear this task. The original tables are not touched."
    ),
    "help.start_service": (
        "Starts the service of a server that was rebuilt. **When it fails** look at the server's error log and the "
        "start command and clear this task, or put the old directory back on after_failure. The old directory stays "
        "until the server answers."
    ),
    "help.restore_files": (
        "Unpacks files beside their target, proves all of them, and renames them into place (only with components of "
        "files). What was there is kept as .replaced-. **When it fails** what was there is untouched or back already. "
        "Remove the cause in its log (permissions, disk, archive) and clear this task. If it names suspicious names or "
        "links, find out first who made that backup."
    ),
    "help.set_ownership": (
        "Sets owner and mode of the restored files as restore.ownership says. **When it fails** see that this machine "
        "has that user and that the worker is root, and clear this task, or put the files back in after_failure."
    ),
    "help.after_failure": (
        "Asks a person when a rebuild or a restore of files failed that had moved something aside: put back what was "
        "there, or leave it and clear the task that failed. **When it fails** nobody answered in time: clear this task "
        "and it asks again. After a rebuild the service stays stopped until then."
    ),
    "help.put_back": (
        "Puts back what was moved aside: the old data directory, whose service it starts (what was being restored "
        "stays in a .failed- folder), and files. **When it fails** remove the cause that its log names and clear this "
        "task: it goes on where it was."
    ),
    "help.verify_restore": (
        "Every object of the manifest has to exist, row counts have to match, and every file's size and SHA-256 too. "
        "**When it fails** its log lists what differs. Of a server: clear load, or restore the safety backup. Of "
        "files, what was there is back already: clear restore_files."
    ),
    "form.section.what": "Only a part",
    "form.section.where": "Repository and schema",
    "form.section.rebuild": "Rebuild the server",
    "form.rebuild": "Make the server anew",
    "form.rebuild.help": (
        "Stops the service, moves its data directory aside, and restores everything into a new server. The server may "
        "be down. Without a point in time its own last logs, which were not archived yet, are applied, too. Needs the "
        "setting restore.rebuild; the old directory takes the place of a safety backup."
    ),
    "form.section.point": "Point in time",
    "form.section.find": "Find the bad transaction",
    "form.to_time": "Up to a time",
    "form.to_time.help": (
        "Such as 2026-01-31T14:05:09+09:00: everything before the first transaction that is stamped later; or latest, "
        "the end of the logs. Without an offset it is a time of {zone}. Not together with the two fields below."
    ),
    "form.to_gtid": "Up to and with a transaction",
    "form.to_gtid.help": "A GTID (MariaDB 0-1-4711, MySQL uuid:23) or a place (binlog.000012:4711), which is included.",
    "form.before_gtid": "Up to just before a transaction",
    "form.before_gtid.help": (
        "A GTID or a place, binlog.000012:4711. Without that transaction. The search below finds the GTID of a "
        "statement that should not have been."
    ),
    "form.find_tables": "Tables to look for",
    "form.find_tables.help": (
        "One database.table a line, with * and ?. Then nothing is restored: the log of the task plan lists the "
        "transactions that changed these tables, and the run ends."
    ),
    "form.find_kinds": "Kinds to look for",
    "form.find_kinds.help": "Left empty: delete, drop, truncate. ddl is every statement that changes definitions.",
    "form.find_since": "Look from a time on",
    "form.find_since.help": "Such as 2026-01-31T14:00+09:00. Left empty, in all logs that are kept.",
    "form.section.files": "Files",
    "form.paths": "Names or patterns of files",
    "form.paths.help": (
        "One a line, such as uploads/2026/* or /var/www/html/.env. * and ? go across folders; a folder brings all that "
        "is in it. Of one component of files only. Empty restores everything, and what was made since is gone."
    ),
    "form.target_root": "Another place",
    "form.target_root.help": (
        "Such as /restore: files go below this folder and not to their original place. Empty: production's original "
        "place; for test restore.files_root, or a folder of the staging area. Test never touches production's files."
    ),
    "form.environment": "Environment",
    "form.environment.help": (
        "test restores to the test server; production to the production server, once somebody approved the plan."
    ),
    "form.environment.test": "Test server",
    "form.environment.production": "Production server (needs approval)",
    "form.backup": "Backup",
    "form.backup.help": "latest, a day YYYYMMDD (its newest backup), an id YYYYMMDD_HHMMSS, or daily/YYYYMMDD_HHMMSS.",
    "form.repository": "Repository",
    "form.repository.help": "Left empty, the first usable one in the order of the configuration.",
    "form.repository.any": "Automatic",
    "form.components": "Components",
    "form.components.help": "What to restore. Left empty, the whole database.",
    "form.component.database": "Whole database",
    "form.component.accounts": "Accounts and grants",
    "form.component.critical_tables": "Critical tables",
    "form.component.face_encodings": "Face encodings",
    "form.component.uploads": "Uploads",
    "form.component.logs": "Logs",
    "form.component.config": "Configuration files",
    "form.component.face_images": "Face images",
    "form.component.environment": "Environment",
    "form.tables": "Tables",
    "form.tables.help": "One database.table a line. Left empty, everything in the components.",
    "form.into_schema": "Into another schema",
    "form.into_schema.help": (
        "A name here leaves the original alone and restores into a schema of that name. One database only."
    ),
    "form.dry_run": "Plan only",
    "form.dry_run.help": "Writes the plan to the log and ends there. Changes nothing.",
    "form.safety_backup": "Safety backup",
    "form.safety_backup.help": (
        "Saves what a production restore will overwrite, before it does. Leave it on unless every minute counts."
    ),
    "approve.subject": "Approve the restore to {site}'s production server?",
    "plan.title": "Plan of {site}'s restore",
    "plan.backup": "Backup",
    "plan.repository": "Repository",
    "plan.target": "Target",
    "plan.components": "Components",
    "plan.into_schema": "Into another schema",
    "plan.fetch": "To fetch",
    "plan.load": "To load",
    "plan.load.amount": "{size} of SQL, {rows} rows, {objects} objects",
    "plan.point": "Point in time",
    "plan.point.to_time": "up to {time}",
    "plan.point.to_gtid": "up to and with transaction `{gtid}`",
    "plan.point.before_gtid": "up to just before transaction `{gtid}`",
    "plan.point.zone": "no offset was given: it is read as a time of {zone}",
    "plan.replay": "To replay",
    "plan.replay.amount": (
        "{transactions} transactions, the last one of {last}; {logs} logs (from {first} {start} to {final} {stop}, "
        "{size}, timeline {timeline}), about {seconds}"
    ),
    "plan.replay.end": "end",
    "plan.replay.nothing": "none",
    "plan.back": (
        "Times in the logs go back by up to {seconds} s (the server's clock was set, or statements took long). The "
        "order of the log counts: the replay stops before the first transaction that is stamped later than the target."
    ),
    "plan.place": "How",
    "plan.place.rebuild": "**the server is made anew** (its service is stopped)",
    "plan.place.sandbox": "rolled forward in a private server, then only the tables are copied",
    "plan.point.end": "the end of the archived logs",
    "difference.title": "{site}: rows of then and now",
    "difference.table": "Table",
    "difference.only_restored": "Gone now",
    "difference.only_current": "Came since",
    "difference.changed": "Changed",
    "difference.same": "Same",
    "difference.samples": "Such as (primary keys)",
    "after_failure.subject": "The restore of {site} failed. Put back what was there?",
    "after_failure.body": (
        "The old data directory and files that were moved aside are all there. After a rebuild the service is stopped; "
        "put back, the server starts as it was before. To put the failed task right and go on, leave it and clear that "
        "task."
    ),
    "after_failure.put_back": "Put back what was there",
    "after_failure.leave": "Leave it, I will clear the failed task",
    "plan.windows": "What can be reached",
    "plan.window": "`{backup}`: {start} to {end}",
    "plan.unreachable": "can't be reached: {start} to {end} ({reason})",
    "find.title": "{site}: {count} transactions found",
    "find.nothing": "There is no such transaction.",
    "find.at": "Time",
    "find.point": "For before_gtid",
    "find.table": "Table",
    "find.rows": "Rows",
    "find.statement": "Statement",
    "find.effort": ("{read} of {logs} logs were read ({fetched} fetched, {size} read, {transactions} transactions)."),
    "find.more": "No more than {limit} are shown: narrow the search.",
    "plan.duration": "Should take",
    "plan.overwrites": "Overwrites {count} objects",
    "plan.overwrites.nothing": "Overwrites nothing.",
    "plan.warnings": "Please note",
    "plan.files.amount": "Files",
    "plan.files.amount.of": "{files}, {size}",
    "plan.files.archives": "From",
    "plan.files.root": "Place",
    "plan.files.paths": "Chosen",
    "plan.files.duration": "Expected time",
    "plan.files.nothing": "Nothing is there now.",
    "plan.files.replaces": (
        "Replaces {places}, all of it. What is there now is kept beside it (.replaced-) until the restore is verified."
    ),
    "plan.files.replaces.chosen": (
        "Replaces chosen files in {places}. What is there now is kept beside it (.replaced-) until the restore is "
        "verified."
    ),
    "plan.files.deleted": "Deleted before the backup was made, and not restored: {count}: {names}",
    "log.stage": "{stage} {component}: {parts} parts, {sizes}, {seconds}, {rate}/s",
    "log.asked_already": (
        "The run {run} has asked about this repository and is under way: nobody is asked again. The other "
        "repositories go on."
    ),
    "log.dry_run": "This run was to plan only: it ends here.",
    "log.nothing_overwritten": "The restore overwrites nothing: there is no need of a safety backup.",
    "log.no_target": "No point in time was asked for: there is no binary log to apply.",
    "log.no_rebuild": "There is no server to rebuild or to put back.",
    "log.no_copy": "No table is to be copied into another schema.",
    "log.no_files": "There are no files to restore.",
    "restore.kept_aside": "Kept aside: {paths}. To remove it: spoqplus-backup restore --drop {run}",
    "log.not_put_back": "What was moved aside stays where it is.",
    "log.found": "This run was to find transactions only: it ends here.",
    "log.approved": "Approved by {user} at {time}.",
    "log.slack_failed": "Slack could not be told ({attempts} attempts): {error}. The backup is none the worse for it.",
    "log.slack_sent": "Slack was told.",
    "log.slack_off": "No Slack connection is configured: nobody was told.",
    "warning.config_git.exposed": (
        "The branch {branch} of the git remote, and those before it, have files that are excluded now. The new branch "
        "begins without that history. Delete those branches in the remote, and change the secrets in the files."
    ),
    "warning.config_git": "The configuration was not committed to git (the encrypted archive has it): {error}",
    "error.run_failed": (
        "The run failed: {tasks}. This task only reports it. Put right what failed and clear that task."
    ),
    "error.not_approved": (
        "There is no approval on record for this production restore: clear the task approve, read the plan and approve "
        "it. Nothing was changed."
    ),
    "error.not_answered": (
        "Nobody answered within {hours} hours, so nothing was moved: the service is stopped and the old data directory "
        "is safe. Clear after_failure to be asked again, run `spoqplus-backup restore --put-back {run}` on the "
        "database's machine, or put the failed task right and clear it."
    ),
    "error.plan_changed": (
        "The plan was made anew after it was approved: clear the task approve and approve the new one. Nothing was "
        "changed."
    ),
    "error.no_safety_backup": (
        "The safety backup was not published: clear the tasks of safety_backup. Nothing was changed."
    ),
    "error.unknown": "It ended without a message (killed, timed out or rejected): see its log.",
    "slack.backup.succeeded": "✅ {site} backup complete",
    "slack.backup.failed": "❌ {site} backup failed",
    "slack.restore.succeeded": "✅ {site} restore complete",
    "slack.restore.failed": "❌ {site} restore failed",
    "slack.set": "Backup",
    "slack.size": "Size (stored / raw)",
    "slack.change": "Against the last one",
    "slack.first": "the first one",
    "slack.duration": "Duration",
    "slack.coordinates": "Coordinates",
    "slack.components": "Components",
    "slack.stages": "Time per stage",
    "slack.warnings": "Warnings",
    "slack.failures": "Failed",
    "slack.run": "Open the run",
    "slack.log": "Open the log",
    "slack.environment": "Environment",
    "slack.approved_by": "Approved by",
    "slack.safety_set": "Safety backup",
    "slack.point": "Point reached",
    "slack.point.reached": "{time} {gtid}({transactions} transactions applied)",
    "slack.point.snapshot": "that of the backup (no transaction to apply)",
    "slack.after_failure": "🛑 {site}: the restore failed, somebody has to decide",
    "slack.after_failure.help": (
        "After a rebuild the service is stopped. Put back what was there on the run's task after_failure, or put the "
        "failed task right and clear it."
    ),
    "slack.put_back": "Put back",
    "slack.put_back.done": "The old data directory is {data} again. What was being restored is in {failed}.",
    "slack.put_back.files": "The files that were there are back: {names}.",
    "slack.own_logs": "the server's own logs, not archived before: {logs}",
    "slack.differences": "Rows of then and now",
    "slack.difference": "gone now {only_restored} · came since {only_current} · changed {changed} · same {same}",
    "slack.more": "and {count} more",
    "slack.rto": "objective {hours} h",
    # the archive of binary logs and the incremental backup
    "stage.rotate": "Rotate",
    "stage.list_logs": "List logs",
    "stage.full_backup": "Ask for a full backup",
    "stage.check_chain": "Check the chain",
    "stage.publish_incremental": "Publish the increment",
    "group.archive": "Archive binary logs",
    "archive.dag": "{site} binary log archive",
    "archive.description": (
        "Fetches closed binary logs, compresses, encrypts and sends them to all repositories: at most an "
        "hour can be lost."
    ),
    "incremental.dag": "{site} incremental backup",
    "incremental.description": (
        "Archives the binary logs since the last backup, proves that they follow each other, and publishes "
        "them as a set."
    ),
    "help.archive.rotate": (
        "**When it fails** check the server's connection, the privileges (REPLICATION SLAVE, RELOAD, ...) "
        "and log_bin, then clear this task. Nothing is ever purged on the server, and the next run goes on "
        "anyway."
    ),
    "help.archive.list_logs": (
        "Finds the logs that are not archived yet and whether they follow those that are. **When it fails** "
        "check the server or the repository that its log names and clear this task. If a sidecar's signature "
        "is wrong, find out first who wrote to the repository."
    ),
    "help.archive.fetch": (
        "**When it fails** its log ends in mysqlbinlog's own words. Remove the cause (network, disk, a "
        "server that was down) and clear this task: it goes on with what is missing. If the server no longer "
        "has a log, clear list_logs."
    ),
    "help.archive.compress": (
        "**When it fails** the staging disk is usually full. Make room and clear this task: finished logs are kept."
    ),
    "help.archive.encrypt": (
        "**When it fails** check the recipients (public keys) or the password's connection, and the disk, "
        "then clear this task: it goes on from the finished logs."
    ),
    "help.archive.upload": (
        "**When it fails** its log names the repository. The others have the logs already, and a log stays "
        "in staging until all have it. Check the network, the permissions and the space, then clear this "
        "task or wait for the next run."
    ),
    "help.archive.verify": (
        "**When it fails** its log names the missing or changed object and its repository. Clear upload: it "
        "sends what is wrong again, and this task follows. If a signature is wrong, find out first who wrote "
        "to the repository."
    ),
    "help.full_backup": (
        "Starts the daily backup at once when logs are missing in between; otherwise it is skipped. **When "
        "it fails** trigger the daily backup by hand: until it is done, no moment behind the gap can be "
        "restored."
    ),
    "help.check_chain": (
        "**When it fails** logs are missing in between: its log says why, and which times can't be restored. "
        "It can't be mended. See that the daily backup which full_backup asked for becomes green, and find "
        "out who purged or reset the logs."
    ),
    "help.publish_incremental": (
        "**When it fails** its log names the missing log, the changed sidecar or the gap. If a repository "
        "could not be written to, put that right and clear this task. If the chain is broken, trigger the "
        "daily backup."
    ),
    "form.component.binlog": "Binary logs",
    "log.no_gap": "No logs are missing: no full backup is asked for.",
    "log.full_backup": "Logs are missing, so {dag} is asked for a full backup: {words}",
    "log.nothing_to_tell": "There is nothing to tell: no message to Slack.",
    "gap.unknown": "unknown",
    "error.gap": (
        "There is a gap in the binary logs: {words} From {lost_from} to {lost_until} nothing can be restored "
        "by logs, and nothing behind it before the full backup is done that was asked for."
    ),
    "slack.archive.failed": "❌ {site} binary log archive failed",
    "slack.archive.gap": "🚨 {site} has a gap in its binary logs",
    "slack.archive.late": "⏰ {site} binary log archive is late",
    "slack.archive.warned": "⚠️ {site} binary log archive: new warnings",
    "slack.incremental.succeeded": "✅ {site} incremental backup complete",
    "slack.incremental.nothing": "✅ {site} incremental backup: nothing new was written",
    "slack.incremental.failed": "❌ {site} incremental backup failed",
    "slack.gap": (
        "{words}\n*Can't be restored*: {lost_from} – {lost_until}\nA full backup was asked for at once; "
        "until it is done no later moment can be restored."
    ),
    "slack.follows": "Follows",
    "slack.covers": "Covers",
    "slack.logs": "Logs",
    "slack.logs.amount": "{logs} logs, {transactions} transactions",
    "slack.rpo": "Measured RPO",
    "slack.complete_until": "Complete until",
    "stage.list_sets": "List sets",
    "stage.copy_sets": "Copy sets",
    "stage.copy_logs": "Copy logs",
    "replication.dag": "{site} replication",
    "replication.description": (
        "Copies published backups and binary logs from repository to replica and checks them; the server is not asked."
    ),
    "help.list_sets": (
        "Finds the sets that each replica lacks, except what its own retention would soon delete: newest first, twenty "
        "a run. **When it fails** check the connection of the repository that its log names and clear this task."
    ),
    "help.copy_sets": (
        "Copies one set after the other, looks at each object, and writes the manifest last. **When it fails** the "
        "other sets were copied all the same. Look at the damaged object or the repository that its log names and "
        "clear this task: it goes on where it was. Left alone, the next run tries again, a set that is damaged in "
        "every repository after a day. If a replica holds another set under a name, find out who wrote there and move "
        "it away first."
    ),
    "help.copy_logs": (
        "Copies the binary logs that a replica lacks. **When it fails** look at the repository or the damaged log that "
        "its log names, and clear this task or wait for the next run."
    ),
    "form.sets": "Sets to copy",
    "form.sets.help": (
        "One a line, such as daily/YYYYMMDD_HHMMSS. Left empty, everything newer than a replica's newest set is copied."
    ),
    "log.copied": "Copied {sets} sets: {objects} objects, {size}, {seconds}",
    "slack.replication.succeeded": "✅ {site} replication complete",
    "slack.replication.failed": "❌ {site} replication failed",
    "slack.sent": "Sent",
    "list.backup": "BACKUP",
    "list.copies": "REPOSITORIES",
    "list.media": "MEDIA",
    "list.offsite": "OFF-SITE",
    "list.rule": "3-2-1",
    "list.size": "SIZE (STORED / RAW)",
    "list.time": "TIME",
    "list.contents": "CONTENTS",
    "list.holds": "holds",
    "list.broken": "broken: {missing}",
    "list.lacks.copies": "{count} of 3 copies",
    "list.lacks.media": "{count} of 2 media",
    "list.lacks.offsite": "none off-site",
    "list.total": "{count} sets; the 3-2-1 rule holds for {good} (the live server counts as a copy, on {medium}).",
    "list.unusable": "NOT USABLE: {problem}",
    "list.held": "held: {words}",
    "list.differs": "its manifests differ in size between the repositories: find out who changed one.",
    # retention
    "stage.delete": "Delete",
    "stage.report": "Report",
    "retention.dag": "{site} retention",
    "retention.description": "Deletes backups and logs past their time from each repository, after showing its plan.",
    "help.retention.plan": (
        "Writes a table to its log of what stays in this repository and what goes, each with its reason. Nothing is "
        "deleted yet. **When it fails** the repository can't be reached or not be read in full, so nothing is decided. "
        "Check connection and rights (include/aws/pruner.json), then clear this task."
    ),
    "help.retention.approve": (
        "Asks a person only when more would go at once than retention.maximum_share allows. Read the table, then "
        "approve or reject it. **When it fails** it was rejected or nobody answered in time: nothing was deleted from "
        "this repository, and the next run asks again."
    ),
    "help.retention.delete": (
        "Deletes what was planned and is still to go, of a set the manifest first. **When it fails** its log has what "
        "the repository refused (rights, a lock, an outage). The other repositories and everything else are done. "
        "Remove the cause and clear this task: it goes on with the rest."
    ),
    "help.retention.report": (
        "Says what was deleted and sees that each repository still has its newest backup. **When it fails** the backup "
        "that its log names is missing or damaged: look at the other repositories' copies, and back up at once."
    ),
    "form.retention.dry_run.help": "Only writes the plan of each repository to the log. Nothing is deleted.",
    "retention.title": "{site} retention of {repository}",
    "retention.counts": "{delete} to delete ({size}), {keep} to keep. That is {share} ({maximum} without approval).",
    "retention.needs_approval": "More than may be deleted without approval: a person has to agree.",
    "retention.nothing_good": ("No backup here could be restored, so no log and no set goes: make a full backup now."),
    "retention.unread": "{repository} can't be reached: holds that only it has are not known.",
    "retention.delete": "To delete",
    "retention.keep": "To keep",
    "retention.column.what": "What",
    "retention.column.at": "Time",
    "retention.column.size": "Size",
    "retention.column.why": "Why",
    "retention.kind.unfinished": "unfinished",
    "retention.kind.upload": "broken upload",
    "retention.reason.untrusted": "can't be read or trusted, so it is never deleted: {detail}",
    "retention.reason.future": "a wrong clock dated it {detail}: it counts for nothing and stays",
    "retention.reason.hold": "held: {detail}",
    "retention.reason.lease": "in use: {detail}",
    "retention.reason.locked": "locked by the bucket until {detail}",
    "retention.reason.young": "younger than the minimum age",
    "retention.reason.newest": "newest of {detail}",
    "retention.reason.newest_full": "newest with a database",
    "retention.reason.days": "last {detail} days with a good backup",
    "retention.reason.daily": "daily {detail}",
    "retention.reason.weekly": "weekly {detail}",
    "retention.reason.monthly": "monthly {detail}",
    "retention.reason.safety": "safety backup of the last {detail} days",
    "retention.reason.point_in_time": "point-in-time window (from {detail} on)",
    "retention.reason.no_rule": "there is no rule for {detail}",
    "retention.reason.damaged": "damaged: it lacks {detail}",
    "retention.reason.needed": "{detail} needs it",
    "retention.reason.may_be_needed": "{detail}, which can't be trusted, may need it",
    "retention.reason.newest_log": "the server's newest log",
    "retention.reason.behind": "behind {detail}, a log that stays",
    "retention.reason.no_full": "there is no full backup that logs could follow",
    "retention.reason.under_way": "may still be under way {detail}",
    "retention.reason.faces_needed": "{detail} face images that sets need",
    "retention.reason.forever": "the configuration keeps everything",
    "retention.reason.expired": "no rule keeps it any more",
    "retention.reason.not_needed": "before the point-in-time window (from {detail} on)",
    "retention.reason.faces_not_needed": "{detail} face images that no set needs",
    "retention.reason.abandoned": "unfinished and abandoned",
    "retention.report": (
        "{repository}: deleted {sets} sets, {logs} logs, {unfinished} unfinished sets, {uploads} broken uploads, "
        "{faces} face images; {size} freed"
    ),
    "retention.approve.subject": "{site}: may so much be deleted from {repository}?",
    "error.refused": "The repository {repository} refused to delete {count} things; everything else is gone. {words}",
    "error.retention_not_approved": (
        "Nobody has approved that so much is deleted: clear the task approve, read the plan and approve it. Nothing "
        "was deleted."
    ),
    "slack.retention.succeeded": "🧹 {site} retention complete",
    "slack.retention.failed": "❌ {site} retention failed",
    "slack.retention.approve": "✋ {site}: deleting from {repository} needs an approval",
    "slack.retention.approve.help": (
        "{count} things ({size}) would go, {share} of the repository. Read the plan on the run's task approve, then "
        "approve or reject it. Until then nothing is deleted from this repository."
    ),
    "slack.retention.problems": "For a person to look at",
    "slack.retention.refused": "Not deleted",
    "slack.freed": "Freed",
}

CATALOGUE: dict[Language, dict[str, str]] = {"ko": KOREAN, "en": ENGLISH}


# What the core says in English sentences of its own (`core.notice`), by code; English is what the core says.
NOTICES: dict[str, str] = {
    "archive.rds_retention": (
        "RDS가 바이너리 로그를 보관하지 않습니다: `binlog retention hours`가 NULL이라 보관하기 전에 로그가 없어질 수 "
        "있습니다. CALL mysql.rds_set_configuration('binlog retention hours', 24)를 실행하세요."
    ),
    "archive.retention": (
        "서버는 바이너리 로그를 {kept} 뒤에 지우는데 로그 보관은 {interval}마다 실행됩니다: {runs}번 실패하면 로그를 "
        "잃습니다. 하루 이상 남겨 두게 하세요(binlog_expire_logs_seconds, RDS는 `binlog retention hours`)."
    ),
    "backup.small": "백업이 {size}뿐입니다: alerts.minimum_backup_bytes({least})보다 작습니다.",
    "preflight.log_bin": (
        "서버의 log_bin이 ON이 아니라 {value}입니다: 바이너리 로그가 없어 전체 백업 뒤의 변경을 복원할 수 없습니다."
    ),
    "preflight.binlog_format": (
        "서버의 binlog_format이 ROW가 아니라 {value}입니다: 로그를 적용한 행이 원래와 다를 수 있습니다."
    ),
    "preflight.binlog_row_image": (
        "서버의 binlog_row_image가 FULL이 아니라 {value}입니다: 잃어버린 행을 로그에서 읽어 낼 수 없습니다."
    ),
    "preflight.sync_binlog": (
        "서버의 sync_binlog가 1이 아니라 {value}입니다: 정전되면 로그에서 트랜잭션을 잃을 수 있습니다."
    ),
    "preflight.flush_log": (
        "서버의 innodb_flush_log_at_trx_commit이 1이 아니라 {value}입니다: 정전되면 커밋된 트랜잭션을 잃을 수 있습니다."
    ),
    "preflight.gtid_mode": "서버의 gtid_mode가 ON이 아니라 {value}입니다: 복원 시점을 GTID로 가리킬 수 없습니다.",
    "preflight.engines": "InnoDB가 아닌 테이블 {count}개는 일관된 스냅숏에 들지 않습니다: {names}.",
    "preflight.floats": (
        "mysqldump는 FLOAT을 여섯 자리까지만 적어 나머지 자릿수를 잃습니다(DOUBLE은 그대로입니다): {names}."
    ),
    "preflight.long_query": "연결 {number}의 쿼리가 {seconds}초째 실행 중입니다: 덤프가 기다려야 할 수 있습니다.",
    "preflight.openssl": (
        "encryption.scheme이 openssl입니다: 백업을 쓸 수 있으면 읽을 수도 있습니다. age가 더 강한 방식입니다."
    ),
    "preflight.one_recipient": (
        "수신자가 하나뿐입니다: 그 키를 잃으면 모든 백업을 잃습니다. 다른 곳에 두는 두 번째 키를 더하세요."
    ),
    "preflight.beside": "세트와 따로 하는 작업에 문제가 있습니다: {problem}",
    "files.too_large": (
        "{component}: 너무 커서 {seconds}초 안에 재지 못했습니다({size} 이상). 스테이징 디스크에 들어갈지 알 수 "
        "없습니다."
    ),
    "files.missing": "{component}: {path} 경로가 없어 백업에 들지 않습니다.",
    "files.dangling": "{component}: {path} 심볼릭 링크가 가리키는 곳이 없어 백업에 들지 않습니다.",
    "files.empty": "{component}: {paths} 폴더에 파일이 없습니다: 볼륨이 마운트되어 있습니까?",
    "files.changed": "{component}: 읽는 사이 바뀐 파일 {count}개: {names}.",
    "files.vanished": "{component}: 읽기 전에 사라진 파일 {count}개: {names}.",
    "files.tar": "{component}: tar의 말: {line}",
    "full.single_files": "{component}: 경로가 모두 폴더인 것은 아니어서 전체 아카이브입니다.",
    "full.first": "{component}: 증분이 아니라 전체 아카이브입니다: 아직 전체 아카이브가 없습니다.",
    "full.paths": "{component}: 증분이 아니라 전체 아카이브입니다: 경로나 제외 패턴이 {base} 때와 다릅니다.",
    "full.snapshot": "{component}: 증분이 아니라 전체 아카이브입니다: {path} 파일은 아는 GNU tar의 스냅숏이 아닙니다.",
    "full.old": (
        "{component}: 증분이 아니라 전체 아카이브입니다: {base}의 전체 아카이브가 {days}일 되어 base_days({limit})를 "
        "넘었습니다."
    ),
    "full.gone": "{component}: 증분이 아니라 전체 아카이브입니다: 저장소 {repository}에 {base} 백업이 없습니다.",
    "full.untrusted": "{component}: 증분이 아니라 전체 아카이브입니다: {problem}",
    "full.none": "{component}: 증분이 아니라 전체 아카이브입니다: {base}에는 이것의 전체 아카이브가 없습니다.",
    "faces.readable": "faces.encrypt가 false입니다: 저장소를 읽을 수 있으면 누구나 얼굴 이미지를 볼 수 있습니다.",
    "faces.changed": "읽는 동안 계속 쓰인 얼굴 이미지 {count}개: 마지막 내용이 빠졌을 수 있습니다.",
    "faces.vanished": "읽기 전에 사라진 얼굴 이미지 {count}개가 있습니다.",
    "faces.skipped": "파일이 아니라 소켓, 파이프, 장치인 {count}개를 뺐습니다(얼굴 이미지).",
    "plan.version": "백업의 버전은 {backup}이고 대상 서버는 {target}입니다.",
    "plan.left": "백업에 없는 것은 그대로 남습니다: {names}.",
    "plan.links_left_out": "{name}의 링크 {count}개는 {root} 밖을 가리켜 복원하지 않습니다: {links}.",
    "plan.another_place": "{name}은(는) 지금 설정과 다른 위치에서 백업했습니다: {places}.",
    "plan.files_space": (
        "{name}에는 {size}가 필요한데 {place}에는 {free}만 남아 있습니다. 바뀌는 파일은 검증이 끝날 때까지 보관합니다: "
        "공간을 만들거나 다른 위치로 복원하세요."
    ),
    "plan.not_root": "작업자가 root가 아닙니다: {name}의 파일은 원래 소유자와 관계없이 작업자의 것이 됩니다.",
    "plan.setuid": (
        "{name}의 파일 {count}개는 소유자나 그룹의 권한으로 실행되는 모드(setuid, setgid) 그대로 복원됩니다: {names}."
    ),
    "plan.left_aside": ("{paths}은(는) 복원 {run}이(가) 남긴 것입니다. 지우려면: spoqplus-backup restore --drop {run}"),
    "plan.left_unfinished": (
        "복원 {run}은(는) 파일을 바꾼 뒤 검증하지 못하고 끝났습니다: 원래 있던 것은 {paths}에 있습니다. 실패한 작업을 "
        "clear 하거나 되돌리세요: spoqplus-backup restore --put-back {run}"
    ),
    "plan.left_unknown": "{paths}은(는) 이 서버에 계획이 없는 복원이 남긴 것입니다: 내용을 확인한 뒤 지우세요.",
    "plan.not_logged": (
        "불러오는 내용은 바이너리 로그에 쓰지 않습니다(restore.binary_log): 복제 서버에는 반영되지 않고, 로그로는 이 "
        "복원 뒤의 시점으로 갈 수 없습니다. 끝나면 전체 백업이 만들어지는지 확인하세요."
    ),
    "plan.active_rows": "구성 요소 face_encodings에는 활성 행만 있습니다: 비활성 행은 사라집니다.",
    "plan.no_safety_backup": "안전 백업을 만들지 않습니다: 덮어쓴 내용은 되돌릴 수 없습니다.",
    "plan.may_drop": (
        "백업에는 {names} 데이터베이스가 없습니다: 로그가 이런 데이터베이스를 만들면 대상 서버에 있는 같은 이름의 것을 "
        "먼저 지웁니다."
    ),
    "plan.rebuild": (
        "서버 전체를 새로 만듭니다: {stop} 명령으로 서비스를 멈추고 데이터 디렉터리 {directory}의 이름을 바꿔 둡니다. "
        "안전 백업은 만들지 않습니다: 이전 디렉터리가 사본이며, 새 서버를 검증하고 응답을 확인하면 지웁니다."
    ),
    "plan.rebuild_keeps": (
        "서버 전체를 새로 만듭니다: {stop} 명령으로 서비스를 멈추고 데이터 디렉터리 {directory}의 이름을 바꿔 둡니다. "
        "안전 백업은 만들지 않습니다: 이전 디렉터리가 사본이며 그대로 남습니다."
    ),
    "plan.rebuild_loses": "서버에는 있지만 백업과 로그에 없는 내용은 사라집니다.",
    "plan.rebuild_logs": (
        "바이너리 로그가 새로 시작되어 다음 백업부터 새 타임라인이 됩니다: 끝나면 전체 백업을 실행하세요."
    ),
    "plan.rebuild_down": "서버 {address}가 응답하지 않습니다: 서버 정보는 백업에서 읽었습니다.",
    "plan.sandbox_space": (
        "임시 서버에는 {directory}에 약 {needed}가 필요한데 {free}만 남아 있습니다: 공간을 만들거나 "
        "staging.directory를 다른 곳으로 바꾸세요."
    ),
}


# Why a timeline of binary logs begins, by `core.manifest.Gap.reason`; the details are the core's.
GAPS: dict[str, str] = {
    "reset": "서버의 바이너리 로그가 초기화되었습니다",
    "purged": "보관하지 않은 바이너리 로그가 서버에서 지워졌습니다",
    "server": "다른 서버의 바이너리 로그입니다",
    "history": "어떤 바이너리 로그에도 없는 변경이 있었습니다",
}


def gap_text(language: Language, gap: Mapping[str, Any]) -> str:
    """What a `core.manifest.Gap`, as JSON, says, in a language."""
    words = str(gap["words"])
    return words if language == "en" else f"{GAPS[gap['reason']]}. {words}"


def notice_text(language: Language, notice: Mapping[str, Any]) -> str:
    """A `core.notice.Notice`, as JSON, in a language."""
    sentence = NOTICES.get(notice["code"]) if language == "ko" else None
    return str(notice["words"]) if sentence is None else sentence.format(**notice["values"])


def text(language: Language, key: str, **fields: object) -> str:
    """The text of that key; `fields` fill its `{places}`. A missing key or field is a programming error (KeyError)."""
    return CATALOGUE[language][key].format(**fields)


def component_label(language: Language, component: str) -> str:
    """A readable name for the strategy's components; a site's own keep the name it gave them."""
    return CATALOGUE[language].get(f"form.component.{component}", component)


def local_time(moment: str, timezone: str) -> str:
    """A time in ISO 8601, for people of a time zone: `2025-01-02 03:04:05 KST`."""
    return f"{datetime.fromisoformat(moment).astimezone(ZoneInfo(timezone)):%Y-%m-%d %H:%M:%S %Z}"


def duration(language: Language, seconds: float) -> str:
    """Seconds for people: `4.2 s`, `3 min 5 s`, `1 h 2 min`."""
    hour, minute, second = ("시간", "분", "초") if language == "ko" else (" h", " min", " s")
    if (tenths := round(seconds, 1)) < 60:
        return f"{tenths:.1f}{second}"
    if (whole := round(seconds)) < 3600:
        return f"{whole // 60}{minute} {whole % 60}{second}"
    return f"{whole // 3600}{hour} {whole % 3600 // 60}{minute}"
