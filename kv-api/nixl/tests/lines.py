"""How the tests report: `ok NAME` on stdout for each one that passes, all else on stderr."""

import unittest


class Lines(unittest.TextTestResult):
    def addSuccess(self, test):
        super().addSuccess(test)
        print("ok", test.id().removeprefix("__main__."), flush=True)


RUNNER = unittest.TextTestRunner(resultclass=Lines, verbosity=0)
