"""The configuration that `manage.py project init` writes: valid as it is, with a comment to each part."""

from __future__ import annotations

EXAMPLE = """\
# What Autopack is told about one project: who builds, who audits, what tests. An operator's file: it lies outside the
# repository, and no plan, patch or request changes it. It is read when given:
#   .venv/bin/python manage.py project add PATH_OR_URL --config THIS_FILE --default
#   .venv/bin/python manage.py project config ID --config THIS_FILE       (after a change; for runs from then on)
# Both say what is wanting, as does `manage.py doctor`; `manage.py doctor --gate ID` tries the gate below.
version: 1

# The branch that runs start from. It is never written, nor are main, master and what stands here.
default_branch: main
# protected_branches: [release/*]

# Files and folders of this machine that every command sees inside its sandbox, beside /usr and its checkout: the
# virtual environment (or another toolchain) of the project. Their programs come first in PATH. What is not listed is
# not there for them. An agent, and `gates`, may have `toolchains` of their own, which nobody else sees.
toolchains:
  - /srv/venvs/shop

# Who writes patches. `command`: any program, started in a checkout; what it changes there is the patch. `pull`: an
# agent that claims work over HTTP with a token of this name. Without `categories` it takes every phase. Without any
# builder every phase waits for a claim, and fails when none comes.
builders:
  mine:
    kind: command
    argv: [/srv/venvs/shop/bin/python, /srv/autopack/agents/builder.py]
    toolchains: [/srv/autopack/agents/builder.py]
    # env_names: [ANTHROPIC_API_KEY]    variables of Autopack's own environment that it is given
    # categories: [docs, tests]
    # timeout_s: 1800
    # network: false                    true by default: an agent asks its model

# Who judges patches where the rules ask for it (security, schema, refactoring, ...). Same form.
# auditors:
#   reviewer:
#     kind: command
#     argv: [/srv/venvs/shop/bin/python, /srv/autopack/agents/reviewer.py]
#     toolchains: [/srv/autopack/agents/reviewer.py]

# What a patch must pass before it lands: each step is one command in a fresh checkout, without network. Status 0
# passes. No shell reads `argv`; `python` is the toolchain's. A JUnit report lets Autopack name the failing tests.
# Profile normal runs `unit` and `integration`, strict also `e2e` and `safety_critical`. Without steps every patch
# passes untested, and is shown as `waived`.
gates:
  suites:
    unit:
      - name: unit tests
        argv: [python, -m, pytest, -q, -p, "no:cacheprovider", --junit-xml=.reports/unit.xml]
        reports: [.reports/unit.xml]
        timeout_s: 600
  # toolchains: [/srv/autopack/checks]       what the gate alone sees: checks that no agent is to read
  limits: {wall_s: 1800, memory_mb: 4096}

# Run nothing at all where there is no sandbox (bubblewrap), instead of running it unconfined.
require_sandbox: true

# What no patch may touch, beside what none ever may: CI configuration, hooks, this file's name.
# protected_paths: [autopack.yaml, .github/**, LICENSE]

# Names for paths, which plans use as `scope: @core`.
# scopes:
#   core: [shop/**]
"""
