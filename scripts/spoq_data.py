"""Fills a database with data like SPOQ Plus's: a membership service of sports clubs that knows members by their faces.

The same size gives the same rows, to the byte, on MariaDB and on MySQL. Face encodings and recognition logs are most of
it, as on the real site; every encoding is its own, so that it compresses as real ones do (zstd: about 2.3 times).

    scripts/spoq_data.py --socket /path/to/server.sock --megabytes 200
"""

import argparse
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

DATABASE = "spoqplus"
CONNECTIONS = 2
MEMBERS_PER_MEGABYTE = 229  # a member with all that belongs to them is about 4.37 kB of SQL dump
CHUNK_BYTES = 8_000_000  # of one LOAD DATA; a chunk lives in memory, once per connection

ENCODING_FLOATS = 128
DEVICES = 24
PRODUCTS = 40
FIRST_DAY = date(2024, 1, 1)
DAYS = 700

SCHEMA = (
    """CREATE TABLE products (
        id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        code VARCHAR(20) NOT NULL,
        name VARCHAR(100) NOT NULL COMMENT '상품명',
        category ENUM('membership', 'lesson', 'locker', 'goods') NOT NULL,
        price DECIMAL(10, 0) NOT NULL,
        months TINYINT UNSIGNED NOT NULL DEFAULT 0,
        is_on_sale TINYINT(1) NOT NULL DEFAULT 1,
        UNIQUE KEY uk_products_code (code)
    ) COMMENT = '이용권과 상품'""",
    """CREATE TABLE members (
        id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        member_no CHAR(10) NOT NULL,
        name VARCHAR(50) NOT NULL COMMENT '이름',
        phone VARCHAR(20) NOT NULL,
        email VARCHAR(120) DEFAULT NULL,
        password_hash CHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        gender ENUM('M', 'F') NOT NULL,
        birth_date DATE NOT NULL,
        address VARCHAR(200) NOT NULL,
        status ENUM('active', 'paused', 'expired', 'withdrawn') NOT NULL DEFAULT 'active',
        joined_at DATETIME NOT NULL,
        last_paid_at DATETIME DEFAULT NULL,
        updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
        UNIQUE KEY uk_members_no (member_no),
        KEY ix_members_phone (phone),
        KEY ix_members_name (name)
    ) COMMENT = '회원'""",
    """CREATE TABLE member_faces (
        id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        member_id INT UNSIGNED NOT NULL,
        encoding TEXT NOT NULL COMMENT '얼굴 특징 벡터: JSON array of 128 floats',
        model VARCHAR(30) NOT NULL,
        quality DECIMAL(5, 4) NOT NULL,
        image_path VARCHAR(120) NOT NULL,
        is_active TINYINT(1) NOT NULL DEFAULT 1,
        created_at DATETIME NOT NULL,
        KEY ix_member_faces_member (member_id, is_active),
        CONSTRAINT fk_member_faces_member FOREIGN KEY (member_id) REFERENCES members (id)
    ) COMMENT = '얼굴 인식 데이터'""",
    """CREATE TABLE face_recognition_logs (
        id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        member_id INT UNSIGNED DEFAULT NULL,
        device VARCHAR(20) NOT NULL,
        result ENUM('success', 'unknown', 'spoof', 'expired') NOT NULL,
        distance DECIMAL(9, 8) NOT NULL,
        elapsed_ms SMALLINT UNSIGNED NOT NULL,
        detail VARCHAR(300) NOT NULL,
        ip VARCHAR(45) NOT NULL,
        recognized_at DATETIME(3) NOT NULL,
        KEY ix_face_logs_member (member_id, recognized_at),
        KEY ix_face_logs_time (recognized_at),
        CONSTRAINT fk_face_logs_member FOREIGN KEY (member_id) REFERENCES members (id) ON DELETE SET NULL
    ) COMMENT = '출입 인식 기록'""",
    """CREATE TABLE payments (
        id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        member_id INT UNSIGNED NOT NULL,
        product_id INT UNSIGNED NOT NULL,
        amount DECIMAL(12, 2) NOT NULL,
        method ENUM('card', 'transfer', 'kakaopay', 'naverpay', 'cash') NOT NULL,
        status ENUM('paid', 'cancelled', 'refunded') NOT NULL DEFAULT 'paid',
        transaction_no CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        memo VARCHAR(200) DEFAULT NULL,
        paid_at DATETIME NOT NULL,
        UNIQUE KEY uk_payments_transaction (transaction_no),
        KEY ix_payments_member (member_id, paid_at),
        KEY ix_payments_paid (paid_at),
        CONSTRAINT fk_payments_member FOREIGN KEY (member_id) REFERENCES members (id),
        CONSTRAINT fk_payments_product FOREIGN KEY (product_id) REFERENCES products (id)
    ) COMMENT = '결제'""",
    """CREATE TABLE sessions (
        id CHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        member_id INT UNSIGNED NOT NULL,
        ip VARCHAR(45) NOT NULL,
        user_agent VARCHAR(200) NOT NULL,
        payload TEXT NOT NULL,
        last_activity TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
        KEY ix_sessions_member (member_id),
        KEY ix_sessions_activity (last_activity),
        CONSTRAINT fk_sessions_member FOREIGN KEY (member_id) REFERENCES members (id) ON DELETE CASCADE
    ) COMMENT = '로그인 세션'""",
    """CREATE TABLE reservations (
        id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        member_id INT UNSIGNED NOT NULL,
        product_id INT UNSIGNED NOT NULL,
        coach VARCHAR(50) NOT NULL,
        starts_at DATETIME NOT NULL,
        minutes SMALLINT UNSIGNED NOT NULL,
        status ENUM('booked', 'attended', 'cancelled', 'no_show') NOT NULL,
        note VARCHAR(200) DEFAULT NULL,
        KEY ix_reservations_member (member_id),
        KEY ix_reservations_start (starts_at, status),
        CONSTRAINT fk_reservations_member FOREIGN KEY (member_id) REFERENCES members (id),
        CONSTRAINT fk_reservations_product FOREIGN KEY (product_id) REFERENCES products (id)
    ) COMMENT = '강습 예약'""",
)

# made after the rows, so that the trigger does not fire for them
PROGRAMS = (
    """CREATE VIEW active_members AS
        SELECT m.id, m.member_no, m.name, m.phone, COUNT(f.id) AS faces
        FROM members m LEFT JOIN member_faces f ON f.member_id = m.id AND f.is_active = 1
        WHERE m.status = 'active' GROUP BY m.id, m.member_no, m.name, m.phone""",
    """CREATE TRIGGER payments_after_insert AFTER INSERT ON payments FOR EACH ROW
        UPDATE members SET last_paid_at = NEW.paid_at WHERE id = NEW.member_id""",
    """CREATE PROCEDURE expire_memberships(IN as_of DATE)
    BEGIN
        -- 마지막 결제 후 1년이 지난 회원은 만료 처리
        UPDATE members SET status = 'expired'
        WHERE status = 'active' AND last_paid_at < as_of - INTERVAL 1 YEAR;
    END""",
    # far ahead: what is compared with a backup of it must not change by itself
    """CREATE EVENT purge_sessions ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 03:30:00'
        COMMENT '오래된 세션 삭제' DO DELETE FROM sessions WHERE last_activity < NOW() - INTERVAL 30 DAY""",
)

FAMILY_NAMES = "김이박최정강조윤장임한오서신권황안송류전홍고문양손배백허유남심노하곽성차주우구"
GIVEN_NAMES = "서준민지우현예은하도윤수아시연주원건유진태영채린재호성혜경미나승규동훈소희정선인찬"
CITIES = ("서울특별시 강남구", "서울특별시 마포구", "경기도 성남시 분당구", "부산광역시 해운대구", "대전광역시 유성구")
STREETS = ("테헤란로", "월드컵북로", "판교역로", "센텀중앙로", "대학로", "한밭대로", "올림픽로")
MEMOS = ("\\N", "\\N", "\\N", "카드 할부 3개월", "가족 할인 적용", "재등록 이벤트 🎉", "현장 결제")
NOTES = ("\\N", "\\N", "첫 방문", "허리 통증 있음", "PT 10회권", "대기 → 확정", "👍")
AGENTS = (
    "Mozilla/5.0 (Linux; Android 15; SM-S921N) AppleWebKit/537.36 Chrome/{}.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_{} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
)

_DAY = [(FIRST_DAY + timedelta(days=n)).isoformat() for n in range(DAYS)]
_CLOCK = [f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}" for second in range(86400)]
_BIRTH = [(date(1950, 1, 1) + timedelta(days=n)).isoformat() for n in range(21000)]


def _fair(symbols: bytes) -> bytes:
    """A table that turns random bytes into these symbols, each about as often."""
    return bytes(symbols[byte * len(symbols) // 256] for byte in range(256))


_SIGN = _fair(b" -")
_DIGIT = _fair(b"0123456789")
_FIRST_DIGIT = _fair(b"0000000000001111111112223")  # nearly all values of an encoding are below 0.3
_FLOAT = b" 0.00000000,"


def encodings(rng: random.Random, count: int) -> list[str]:
    """JSON arrays of 128 floats with eight digits, as a face model gives them; all digits are random."""
    floats = count * ENCODING_FLOATS
    block = bytearray(_FLOAT * floats)
    width = len(_FLOAT)
    for place, table in ((0, _SIGN), (3, _FIRST_DIGIT), *((place, _DIGIT) for place in range(4, 11))):
        block[place::width] = rng.randbytes(floats).translate(table)
    row = ENCODING_FLOATS * width
    text = block.decode("ascii")
    return ["[" + text[at : at + row - 1].replace(" ", "") + "]" for at in range(0, len(text), row)]


def _moment(rng: Callable[[], float]) -> str:
    return f"{_DAY[int(rng() * DAYS)]} {_CLOCK[int(rng() * 57600) + 21600]}"  # the club is open from 06:00 to 22:00


def _someone(rng: Callable[[], float], members: int) -> int:
    """A member's number; the few who come every day turn up much more often."""
    return int(members * rng() ** 2) + 1


def _name(rng: Callable[[], float]) -> str:
    given = GIVEN_NAMES[int(rng() * len(GIVEN_NAMES))] + GIVEN_NAMES[int(rng() * len(GIVEN_NAMES))]
    return FAMILY_NAMES[int(rng() ** 2 * len(FAMILY_NAMES))] + given


def _ip(rng: Callable[[], float]) -> str:
    return f"{int(rng() * 80) + 110}.{int(rng() * 256)}.{int(rng() * 256)}.{int(rng() * 254) + 1}"


def _products(rng: random.Random, first: int, last: int, members: int) -> Iterator[str]:
    kinds = (("membership", "회원권"), ("lesson", "강습"), ("locker", "락커"), ("goods", "용품"))
    for number in range(first, last):
        category, word = kinds[number % len(kinds)]
        months = (1, 3, 6, 12)[number // len(kinds) % 4]
        price, on_sale = months * 30000 + number * 1000, int(number % 9 != 0)
        yield f"{number}\tP{number:04}\t{word} {months}개월 #{number}\t{category}\t{price}\t{months}\t{on_sale}\n"


def _members(rng: random.Random, first: int, last: int, members: int) -> Iterator[str]:
    r = rng.random
    alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    for number in range(first, last):
        status = ("active", "active", "active", "active", "paused", "expired", "withdrawn")[int(r() * 7)]
        email = "\\N" if r() < 0.2 else f"user{number}@{('naver.com', 'gmail.com', 'daum.net')[int(r() * 3)]}"
        address = f"{CITIES[int(r() * 5)]} {STREETS[int(r() * 7)]} {int(r() * 300) + 1}, {int(r() * 1500) + 101}호"
        paid = "\\N" if r() < 0.05 else _moment(r)
        yield (
            f"{number}\tM{number:09}\t{_name(r)}\t010-{int(r() * 9000) + 1000}-{int(r() * 9000) + 1000}\t{email}\t"
            f"$2y$10${''.join(rng.choices(alphabet, k=53))}\t{'MF'[int(r() * 2)]}\t"
            f"{_BIRTH[int(r() * 21000)]}\t{address}\t{status}\t{_moment(r)}\t{paid}\t{_moment(r)}\n"
        )


def _member_faces(rng: random.Random, first: int, last: int, members: int) -> Iterator[str]:
    r = rng.random
    for number, encoding in enumerate(encodings(rng, last - first), first):
        # everybody has one, some have more: a second model, another hair cut
        member = number if number <= members else int(r() * members) + 1
        yield (
            f"{number}\t{member}\t{encoding}\t{'dlib_resnet_v1' if r() < 0.8 else 'arcface_r100'}\t"
            f"{0.5 + r() / 2:.4f}\tface_images/{member % 1000:03}/{member}_{number}.jpg\t{r() < 0.85:d}\t{_moment(r)}\n"
        )


def _face_recognition_logs(rng: random.Random, first: int, last: int, members: int) -> Iterator[str]:
    r = rng.random
    results = ("success",) * 17 + ("unknown", "spoof", "expired")
    for number in range(first, last):
        result = results[int(r() * 20)]
        member = "\\N" if result in ("unknown", "spoof") else _someone(r, members)
        distance, left, top = f"{0.2 + r() * 0.4:.8f}", int(r() * 640), int(r() * 480)
        yield (
            f"{number}\t{member}\tgate-{int(r() * DEVICES) + 1:02}\t{result}\t{distance}\t{int(r() * 900) + 60}\t"
            f'{{"box":[{left},{top},{left + 180},{top + 210}],"liveness":{r():.6f},"faces":1,"threshold":0.45}}\t'
            f"10.0.{int(r() * 4)}.{int(r() * 254) + 1}\t{_moment(r)}.{int(r() * 1000):03}\n"
        )


def _payments(rng: random.Random, first: int, last: int, members: int) -> Iterator[str]:
    r = rng.random
    methods = ("card", "card", "card", "transfer", "kakaopay", "naverpay", "cash")
    for number in range(first, last):
        status = "paid" if r() < 0.95 else ("cancelled", "refunded")[int(r() * 2)]
        yield (
            f"{number}\t{_someone(r, members)}\t{int(r() * PRODUCTS) + 1}\t{int(r() * 90) * 1000 + 30000}.00\t"
            f"{methods[int(r() * 7)]}\t{status}\t{rng.getrandbits(128):032x}\t{MEMOS[int(r() * 7)]}\t{_moment(r)}\n"
        )


def _sessions(rng: random.Random, first: int, last: int, members: int) -> Iterator[str]:
    r = rng.random
    for number in range(first, last):
        member = _someone(r, members)
        payload = (
            f's:6:"_token";s:40:"{rng.getrandbits(160):040x}";s:9:"member_id";i:{member};s:8:"language";s:2:"ko";'
            f's:4:"cart";a:1:{{i:0;a:2:{{s:7:"product";i:{int(r() * PRODUCTS) + 1};s:5:"count";i:1;}}}}'
        )
        agent = AGENTS[int(r() * 3)].format(int(r() * 9) + 130)
        yield f"{number:08x}{rng.getrandbits(128):032x}\t{member}\t{_ip(r)}\t{agent}\t{payload}\t{_moment(r)}\n"


def _reservations(rng: random.Random, first: int, last: int, members: int) -> Iterator[str]:
    r = rng.random
    coaches = [
        family + given for family in FAMILY_NAMES[:5] for given in ("코치", "민수", "지영", "태호", "은주", "성민")
    ]
    states = ("attended", "attended", "attended", "booked", "cancelled", "no_show")
    for number in range(first, last):
        starts_at = f"{_DAY[int(r() * DAYS)]} {int(r() * 15) + 6:02}:{('00', '30')[int(r() * 2)]}:00"
        yield (
            f"{number}\t{_someone(r, members)}\t{int(r() * PRODUCTS) + 1}\t{coaches[int(r() * 30)]}\t"
            f"{starts_at}\t{(30, 50, 60, 90)[int(r() * 4)]}\t{states[int(r() * 6)]}\t{NOTES[int(r() * 7)]}\n"
        )


Rows = Callable[[random.Random, int, int, int], Iterator[str]]


@dataclass(frozen=True)
class _Table:
    """How many rows a table has for each member, about how long they are, and who makes them."""

    name: str
    per_member: float
    row_bytes: int
    rows: Rows


# What loads fastest first: one connection goes through them from the front, the other one from the back.
_TABLES = (
    _Table("member_faces", 1.4, 1600, _member_faces),
    _Table("members", 1.0, 260, _members),
    _Table("reservations", 1.0, 110, _reservations),
    _Table("payments", 1.2, 150, _payments),
    _Table("sessions", 1.0, 470, _sessions),
    _Table("face_recognition_logs", 7.5, 200, _face_recognition_logs),
)


@dataclass(frozen=True)
class _Chunk:
    """Rows `first` to `last` (excluded) of a table, made from their own random numbers."""

    table: str
    first: int
    last: int
    rows: Rows

    def text(self, members: int) -> bytes:
        rng = random.Random(f"{self.table} {self.first}")
        return "".join(self.rows(rng, self.first, self.last, members)).encode()


def _chunks(members: int) -> Iterator[_Chunk]:
    yield _Chunk("products", 1, PRODUCTS + 1, _products)
    for table in _TABLES:
        end = int(members * table.per_member) + 1
        step = CHUNK_BYTES // table.row_bytes
        for first in range(1, end, step):
            yield _Chunk(table.name, first, min(first + step, end), table.rows)


def _send(cursor: Any, chunk: _Chunk, members: int) -> None:
    fd = os.memfd_create("spoq")  # LOAD DATA wants a file, not a disk
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(chunk.text(members))
        os.lseek(fd, 0, os.SEEK_SET)
        cursor.execute(f"LOAD DATA LOCAL INFILE '/proc/self/fd/{fd}' INTO TABLE {chunk.table} CHARACTER SET utf8mb4")
        inserted, wanted = cursor.rowcount, chunk.last - chunk.first
        if inserted != wanted:
            cursor.execute("SHOW WARNINGS")
            raise RuntimeError(f"The server took {inserted} of {wanted} rows of {chunk.table}: {cursor.fetchall()[:3]}")
    finally:
        os.close(fd)


def _run(connection: Any, *statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


class _Loader:
    """The work that the connections share. The first error ends all of them."""

    def __init__(self, members: int) -> None:
        self.members = members
        self.waiting = deque(_chunks(members))
        self.error: Exception | None = None

    def work(self, connection: Any, take: Callable[[], _Chunk]) -> None:
        try:
            with connection.cursor() as cursor:
                while self.error is None:
                    _send(cursor, take(), self.members)
        except IndexError:
            return  # nothing is left
        except Exception as error:  # noqa: BLE001 (raised again by the thread that waits)
            self.error = error


def load(connect: Callable[..., Any], megabytes: int, database: str = DATABASE) -> dict[str, int]:
    """Make the database anew and fill it.

    Args:
        connect: opens a MySQLdb connection with autocommit that may do everything; gets `local_infile` and
            `database` as keywords (`SandboxServer.connect` does). The server needs `local_infile=ON`.
        megabytes: about the size of mysqldump's output, in millions of bytes.
        database: its name; what is there under this name is dropped.

    Returns:
        the number of rows of each table.
    """
    first = connect(local_infile=True)
    _run(first, f"DROP DATABASE IF EXISTS `{database}`", f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4")
    connections = [first, *(connect(local_infile=True) for _ in range(CONNECTIONS - 1))]
    # The data were there before the binary log began, and hold no duplicates and no orphans.
    session = "SET sql_log_bin = 0, foreign_key_checks = 0, unique_checks = 0, time_zone = '+00:00'"
    for connection in connections:
        _run(connection, f"USE `{database}`", session)
    _run(first, *SCHEMA)

    loader = _Loader(max(1, megabytes * MEMBERS_PER_MEGABYTE))
    takes = [loader.waiting.popleft, loader.waiting.pop]
    threads = [
        threading.Thread(target=loader.work, args=(connection, takes[number % 2]))
        for number, connection in enumerate(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if loader.error is None:
        _run(first, *PROGRAMS)
    for connection in connections:
        connection.close()
    if loader.error is not None:
        raise loader.error
    return {"products": PRODUCTS} | {table.name: int(loader.members * table.per_member) for table in _TABLES}


def main() -> None:
    """Fill the database of a running server from the command line."""
    import MySQLdb

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--socket", required=True, help="of the server; root must be let in without a password")
    parser.add_argument("--megabytes", type=int, default=200, help="of SQL dump (default: 200)")
    parser.add_argument("--database", default=DATABASE, help=f"is dropped and made anew (default: {DATABASE})")
    arguments = parser.parse_args()

    def connect(**options: Any) -> Any:
        return MySQLdb.connect(unix_socket=arguments.socket, user="root", charset="utf8mb4", autocommit=True, **options)

    started = time.monotonic()
    for table, count in load(connect, arguments.megabytes, arguments.database).items():
        print(f"{table:24} {count:>10,} rows")
    print(f"loaded in {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()
