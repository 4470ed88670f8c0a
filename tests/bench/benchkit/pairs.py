# SPDX-License-Identifier: Apache-2.0
"""The method: subjects measured side by side with the yardstick, in turn, the order reversed each round;
samples under foreign load dropped and counted; ratios of pairs. It must not judge whether a ratio is good."""

import os
import sys

from . import machine
from .driver import DriverFailed
from .figures import median, summary

FOREIGN_LIMIT = 0.15


class Settings:
    def __init__(self, rounds=15, warmup=0.5, seconds=1.0, patience=30.0, verbose=False,
                 foreign_limit=FOREIGN_LIMIT, nice=0):
        self.rounds, self.warmup, self.seconds, self.patience = rounds, warmup, seconds, patience
        self.nice = nice
        self.verbose, self.foreign_limit = verbose, foreign_limit


def note(text):
    print(text, file=sys.stderr, flush=True)


class PairedRow:
    """Runs one row over running subjects and keeps the samples."""

    def __init__(self, kit, row, subjects, yardstick, settings):
        self.kit, self.row, self.settings = kit, row, settings
        self.subjects, self.yardstick = subjects, yardstick
        self.pairs = {subject.name: [] for subject in subjects}     # (yardstick sample, subject sample)
        self.samples = {subject.name: [] for subject in subjects + [yardstick]}
        self.dropped = {subject.name: 0 for subject in subjects}
        self.failed = {}
        self.rates = {}

    def sample(self, subject):
        """One clean sample, or None when strangers were too busy or the subject failed."""
        if subject.name in self.failed:
            return None
        if self.settings.patience > 0:
            machine.wait_until_quiet(patience=self.settings.patience)
        groups = subject.cpu_groups()
        machine.prioritise({pid for pids in groups.values() for pid in pids} | {os.getpid()}, self.settings.nice)
        try:
            sample = self.kit.driver.load(
                subject.place, subject.endpoint, self.engines(subject), groups,
                warmup=self.settings.warmup, seconds=self.settings.seconds * self.row.seconds)
        except DriverFailed as failed:
            self.failed[subject.name] = str(failed)
            note(f"  {subject.name}: {failed}")
            return None
        if sample["errors"]:
            self.failed[subject.name] = f"{sample['errors']} connections failed"
            note(f"  {subject.name}: {self.failed[subject.name]}")
            return None
        if sample["foreign"] > self.settings.foreign_limit:
            return None
        sample["figures"] = {}
        for figure in self.row.figures:
            value = figure.read(sample)
            if value is not None:
                sample["figures"][figure.key] = value
        if self.settings.verbose:
            note(f"  {subject.name:14} " + "  ".join(
                f"{key} {value:.4g}" for key, value in sample["figures"].items()) +
                f"  foreign {sample['foreign']:.1%}")
        return sample

    def engines(self, subject):
        if not self.row.half_speed:
            return self.row.engines
        if subject.name not in self.rates:
            alone = self.kit.driver.load(subject.place, subject.endpoint, ["down:1"], {}, warmup=0.3,
                                         seconds=0.7)
            self.rates[subject.name] = alone["engines"][0]["bytes"] / alone["seconds"] / 2
        return [text.replace("RATE", str(int(self.rates[subject.name]))) for text in self.row.engines]

    def round(self, subjects, backwards):
        """Yardstick, two subjects, yardstick, two subjects …: each subject is next to a yardstick sample."""
        order = list(reversed(subjects)) if backwards else list(subjects)
        for at in range(0, len(order), 2):
            group = order[at:at + 2]
            before = None if backwards and len(group) == 1 else self.sample(self.yardstick)
            taken = [self.sample(subject) for subject in group]
            after = self.sample(self.yardstick) if backwards or len(group) == 2 else None
            for subject, sample, near in zip(group, taken, (before or after, after or before)):
                if sample and near:
                    self.pairs[subject.name].append((near, sample))
                elif subject.name not in self.failed:
                    self.dropped[subject.name] += 1
                if sample:
                    self.samples[subject.name].append(sample)
            self.samples[self.yardstick.name] += [sample for sample in (before, after) if sample]

    def run(self):
        """Rounds until everybody has enough clean pairs, or twice as many rounds are over."""
        for number in range(2 * self.settings.rounds):
            wanting = [subject for subject in self.subjects if subject.name not in self.failed and
                       len(self.pairs[subject.name]) < self.wanted(subject)]
            if self.yardstick.name in self.failed or (not wanting and number):
                break
            if not wanting:
                break
            self.round(wanting, backwards=number % 2 == 1)
        return self.result()

    def wanted(self, subject):
        """How many clean pairs. The yardstick against itself only has to show the error: half of them do."""
        return (self.settings.rounds + 1) // 2 if subject.is_control else self.settings.rounds

    def result(self):
        out = {}
        for subject in [self.yardstick] + self.subjects:
            entry = {"figures": {}, "dropped": self.dropped.get(subject.name, 0)}
            if subject.name in self.failed:
                entry["failed"] = self.failed[subject.name]
            if self.samples[subject.name]:
                entry["foreign"] = median([sample["foreign"] for sample in self.samples[subject.name]])
            for figure in self.row.figures:
                values = [sample["figures"][figure.key] for sample in self.samples[subject.name]
                          if figure.key in sample["figures"]]
                ratios = [mine["figures"][figure.key] / other["figures"][figure.key]
                          for other, mine in self.pairs.get(subject.name, [])
                          if mine["figures"].get(figure.key) and other["figures"].get(figure.key)]
                if values:
                    entry["figures"][figure.key] = {"value": summary(values), "ratio": summary(ratios),
                                                    "samples": [round(value, 6) for value in values],
                                                    "ratios": [round(ratio, 5) for ratio in ratios]}
            if self.row.half_speed and subject.name in self.rates:
                entry["paced_mbps"] = self.rates[subject.name] / 1e6
            out[subject.name] = entry
        return out
