"""`ebbtide replay`: the service's pipeline over an event file, without servers; the same alerts with the same ids."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from aiokafka.partitioner import murmur2
from prometheus_client import CollectorRegistry

from consumer.adapters.clock import ManualClock, SystemClock
from consumer.adapters.memory import MemoryChangelog, MemorySource, MemoryStore
from consumer.adapters.metrics import Metrics
from consumer.assembly import build_rules, build_worker
from consumer.health import Health
from consumer.pipeline import Pipeline, World
from consumer.ports import Message, Record
from consumer.settings import Settings


def partition_of(key: bytes, partitions: int) -> int:
    """Kafka's default partitioner for records with a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
