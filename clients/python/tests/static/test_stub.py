"""The single file that stands in for the package: same names, same arguments, and alone."""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
import subprocess
import sys
import unittest
from typing import Any, List, Set, no_type_check
from unittest import mock

import headroom_guard
from headroom_guard import stub
from stand_in import folder

#: What talks to an agent itself is of no use without one.
ONLY_PACKAGE = {
    "Amounts",
    "Client",
    "Follower",
    "MODELS",
    "Model",
    "NoAgent",
    "claim",
    "claim_async",
}


def parameters(function: Any) -> Set[str]:
    return set(inspect.signature(function).parameters)


class Stub(unittest.TestCase):
    def compare(self, name: str, theirs: Any, ours: Any) -> None:
        missing = parameters(theirs) - parameters(ours)
        takes_all = any(one.kind is one.VAR_KEYWORD for one in inspect.signature(ours).parameters.values())
        self.assertTrue(takes_all or not missing, f"{name} lacks {missing}")
        defaults = inspect.signature(theirs).parameters
        for parameter in inspect.signature(ours).parameters.values():
            if parameter.name in defaults and name not in ("Lease", "Event"):
                self.assertEqual(parameter.default, defaults[parameter.name].default, f"{name}: {parameter.name}")

    def test_names_arguments_and_numbers_are_those_of_the_package(self) -> None:
        for name in set(headroom_guard.__all__) - ONLY_PACKAGE:
            theirs, ours = getattr(headroom_guard, name), getattr(stub, name)
            if not inspect.isclass(theirs):
                if callable(theirs):
                    self.compare(name, theirs, ours)
                continue
            public = [attribute for attribute in vars(theirs) if not attribute.startswith("_")]
            for attribute in public:
                self.assertTrue(hasattr(ours, attribute), f"{name}.{attribute}")
                if inspect.isfunction(getattr(theirs, attribute)):
                    self.compare(f"{name}.{attribute}", getattr(theirs, attribute), getattr(ours, attribute))
            if name not in ("Lease", "OperationPriority") and not issubclass(theirs, Exception):
                self.compare(name, theirs, ours)
        self.assertEqual(list(stub.OperationPriority.__members__), list(headroom_guard.OperationPriority.__members__))
        self.assertEqual(vars(stub.LIMITS), vars(headroom_guard.LIMITS))
        for model in headroom_guard.MODELS:
            for free in (0.0, 7.5, 16.0, 30.0, 80.0):
                theirs = headroom_guard.ResourceOptimizer().get_optimal_batch_size(model, free)
                self.assertEqual(stub.ResourceOptimizer().get_optimal_batch_size(model, free), theirs)

    def test_it_does_what_the_package_does_without_an_agent(self) -> None:
        """One program, run with both: the same answers and errors."""
        with folder() as path:
            for policy in ("allow", "deny", "raise"):
                with mock.patch.dict(os.environ, HEADROOM_SOCKET=os.path.join(path, "s"), HEADROOM_NO_AGENT=policy):
                    self.assertEqual(program(stub), program(headroom_guard), policy)

    def test_it_runs_alone(self) -> None:
        with folder() as path:
            shutil.copy(stub.__file__, os.path.join(path, "headroom_guard_stub.py"))
            code = "import sys, headroom_guard_stub as g; assert 'headroom_guard' not in sys.modules; print(g.can_proceed())"
            environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "HEADROOM_NO_AGENT": "deny"}
            done = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, check=True)
            self.assertEqual(done.stdout, b"False\n")


@no_type_check
def program(g: Any) -> List[str]:
    said: List[str] = []

    def note(call: Any) -> None:
        try:
            said.append(repr(call()))
        except Exception as error:
            said.append(type(error).__name__)

    def guarded() -> bool:
        with g.ResourceGuard(mem_required_gb=1) as inside:
            return bool(inside.ok)

    async def limited() -> List[Any]:
        async with g.AsyncResourceLimiter(mem_required_gb=1).acquire("a") as one:
            two = await g.AsyncResourceLimiter(mem_required_gb=1).acquire("b")
            await two.release_async()
            return [one.id, two.held]

    async def limited_twice() -> None:
        acquisition = g.AsyncResourceLimiter(mem_required_gb=1).acquire("a")
        async with acquisition:
            async with acquisition:
                pass

    def guarded_twice() -> None:
        guard = g.ResourceGuard(mem_required_gb=1)
        with guard, guard:
            pass

    def refused() -> int:
        try:
            raise g.AgentError("too many wait", 429)
        except g.HeadroomError as error:
            return int(error.status)

    @g.respect_resource_limits(mem_gb=1)
    def plain() -> int:
        return 7

    @g.respect_resource_limits(mem_gb=1)
    async def later() -> int:
        return 8

    def managed() -> List[Any]:
        with g.ResourceManager() as manager:
            manager.allocate_resources("a", cpu_memory_gb=1)
            manager.track_model_cache("a", 1.0)
            told: List[Any] = []
            manager.add_callback(lambda event: told.append((event.kind, event.data)))
            return [manager.cleanup(), manager.cleanup(force=True), told, manager.release_resources("a")]

    note(g.can_proceed)
    note(lambda: g.check_memory(3))
    note(lambda: g.wait_for_resources(5, mem_required_gb=1))
    note(g.require_resources)
    note(g.get_degradation_level)
    note(lambda: g.should_proceed_with_priority(g.OperationPriority.LOW))
    note(lambda: {**g.get_resource_status(), "not_known": None})
    note(guarded)
    note(lambda: asyncio.run(limited()))
    note(lambda: asyncio.run(limited_twice()))
    note(guarded_twice)
    note(refused)
    note(lambda: issubclass(g.UnknownLevelError, g.HeadroomError))
    note(plain)
    note(lambda: asyncio.run(later()))
    note(managed)
    note(lambda: g.ResourceManager().allocate_resources("a", gpu_memory_gb=1).gpus)
    note(lambda: g.ResourceManager().validate_system_resources("small"))
    return said


if __name__ == "__main__":
    unittest.main()
