"""Running hostile commands: limits, isolation, and reading what they left (SAFETY, "Sandbox").

Nothing here knows Django, a model or a setting. This file imports nothing, because the shim process
passes through it on its way to the standard library alone.
"""
