from engine.bus.request_queue import CLIENT_LIMIT, IDS_PER_CLIENT, AnswerCache

ONE, OTHER = b"1" * 16, b"2" * 16


def test_a_repeated_request_gets_its_first_answer() -> None:
    answers = AnswerCache()
    assert answers.begin("me", "a", ONE) == "new"
    assert answers.begin("me", "a", ONE) == "in progress"
    answers.finish("me", "a", b"the answer")
    assert answers.begin("me", "a", ONE) == b"the answer"
    assert answers.begin("me", "a", OTHER) == "mismatch"
    assert answers.begin("you", "a", OTHER) == "new"


def test_exactly_the_last_1024_ids_of_a_client_are_kept() -> None:
    answers = AnswerCache()
    for number in range(IDS_PER_CLIENT + 1):
        assert answers.begin("me", str(number), ONE) == "new"
        answers.finish("me", str(number), b"%d" % number)
    assert answers.begin("me", "1", ONE) == b"1"
    assert answers.begin("me", "1024", ONE) == b"1024"
    assert answers.begin("me", "0", ONE) == "new"


def test_the_client_silent_longest_is_forgotten_when_there_are_too_many() -> None:
    answers = AnswerCache()
    for number in range(CLIENT_LIMIT):
        answers.begin(str(number), "a", ONE)
        answers.finish(str(number), "a", b"done")
    answers.begin("0", "a", ONE)
    answers.begin("one more", "a", ONE)
    assert answers.begin("0", "a", ONE) == b"done"
    assert answers.begin("1", "a", ONE) == "new"


def test_a_request_in_progress_is_not_forgotten_whatever_comes_after_it() -> None:
    answers = AnswerCache(total_limit_bytes=100_000)
    assert answers.begin("me", "slow", ONE) == "new"
    for number in range(2 * IDS_PER_CLIENT):
        answers.begin("me", str(number), ONE)
        answers.finish("me", str(number), b"done")
    for number in range(2 * CLIENT_LIMIT):
        answers.begin(str(number), "a", ONE)
        answers.finish(str(number), "a", b"done")
    assert answers.begin("me", "slow", ONE) == "in progress"
    assert answers.begin("me", "0", ONE) == "new"


def test_answers_are_forgotten_oldest_first_when_they_are_too_large() -> None:
    answers = AnswerCache(total_limit_bytes=5000)
    noise = bytes(range(256)) * 4
    for number in range(100):
        answers.begin("me", str(number), ONE)
        answers.finish("me", str(number), noise + str(number).encode())
    assert answers.begin("me", "99", ONE) == noise + b"99"
    assert answers.begin("me", "0", ONE) == "new"
