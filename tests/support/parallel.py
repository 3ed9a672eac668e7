"""parallel.py - unittest.main() for tests that mostly wait for other processes: several at once.

Every class is set up before its first test and taken down behind the last of all. A test must not
share anything with another that both change: the working directory, the environment, a port. One
that must not be late, such as one of a rate, is marked with @alone and comes last, by itself.
"""
import concurrent.futures
import os
import threading
import time
import unittest

# Of one program; ctest runs several of those.
JOBS = int(os.environ.get("HF_TEST_JOBS", "4"))


def alone(test):
    test.is_alone = True
    return test


def is_alone(test):
    return hasattr(getattr(test, test.id().rpartition(".")[2]), "is_alone")


def flat(suite):
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            yield from flat(part)
        else:
            yield part


class Runner:
    """What unittest.main() takes for a test runner."""

    def __init__(self, **ignored):
        del ignored
        self.total = unittest.TestResult()
        self.count = 0
        self.lock = threading.Lock()

    def tell(self, name, result, seconds):
        bad = result.errors + result.failures
        skips = [why for _, why in result.skipped]
        word = "FAIL" if bad or result.unexpectedSuccesses else "skip" if skips else "ok"
        with self.lock:
            print(f"{word:4} {name} ({seconds:.1f} s)" + "".join(f": {why}" for why in skips),
                  flush=True)
            for _, text in bad:
                print(text, flush=True)
            self.count += result.testsRun
            for kind in ("errors", "failures", "skipped", "unexpectedSuccesses"):
                getattr(self.total, kind).extend(getattr(result, kind))

    def run_test(self, test):
        result = unittest.TestResult()
        begun = time.monotonic()
        test.run(result)
        self.tell(test.id().removeprefix("__main__."), result, time.monotonic() - begun)

    def fixture(self, cls, step):
        """setUpClass or tearDownClass, which fails as a test does. True: it did not."""
        result = unittest.TestResult()
        try:
            step()
        except unittest.SkipTest as why:
            result.skipped.append((cls, str(why)))
        except Exception:  # pylint: disable=broad-except
            import traceback  # pylint: disable=import-outside-toplevel
            result.errors.append((cls, traceback.format_exc()))
        if result.skipped or result.errors:
            self.tell(f"{cls.__name__} as a whole", result, 0)
        return not (result.skipped or result.errors)

    def run(self, suite):
        tests = list(flat(suite))
        classes = list(dict.fromkeys(type(test) for test in tests))
        ready = [cls for cls in classes if getattr(cls, "__unittest_skip__", False) or
                 self.fixture(cls, cls.setUpClass)]
        tests = [test for test in tests if type(test) in ready]
        with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
            list(pool.map(self.run_test, (test for test in tests if not is_alone(test))))
        for test in tests:
            if is_alone(test):
                self.run_test(test)
        for cls in ready:
            if not getattr(cls, "__unittest_skip__", False):
                self.fixture(cls, cls.tearDownClass)
            cls.doClassCleanups()
        bad = len(self.total.errors) + len(self.total.failures)
        print(f"Ran {self.count} tests, {bad} failed, {len(self.total.skipped)} skipped")
        return self.total


def main():
    unittest.main(testRunner=Runner)
