"""Every setting, read once through env.py. Names and defaults are listed in the README's table."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import dj_database_url
from kombu import Exchange, Queue

from autopack_site import wiring
from autopack_site.env import env_bool, env_float, env_int, env_list, env_path, env_str
from autopack_site.kernel import local_state, logs
from autopack_site.redis_urls import broker_url

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"

# --- where Autopack keeps its own things -------------------------------------------------------------
STATE_DIR = env_path("AUTOPACK_STATE_DIR", default=BASE_DIR / ".autopack")
RUNS_DIR = env_path("AUTOPACK_RUNS_DIR", default=BASE_DIR / ".autonomous_runs")
LOCAL = local_state.read(STATE_DIR)  # addresses of embedded services and the generated key, if any

# --- Django ------------------------------------------------------------------------------------------
PRODUCTION = env_bool("AUTOPACK_PRODUCTION", default=False)
DEBUG = env_bool("AUTOPACK_DEBUG", default=False)
SECRET_KEY = env_str("AUTOPACK_SECRET_KEY", LOCAL.get("secret_key", "insecure-development-key"))
BIND = env_str("AUTOPACK_BIND", "127.0.0.1:8790")
ALLOWED_HOSTS = env_list("AUTOPACK_ALLOWED_HOSTS", default="127.0.0.1,localhost,[::1]")
OPEN_LOOPBACK = env_bool("AUTOPACK_OPEN_LOOPBACK", default=False)
OPEN_PROMETHEUS = env_bool("AUTOPACK_OPEN_PROMETHEUS", default=False)
# People and agents reach us through a proxy that speaks TLS and says so in X-Forwarded-Proto: cookies then travel
# by TLS only, and plain requests are sent there, but for those that health checks inside the container make.
BEHIND_TLS = env_bool("AUTOPACK_BEHIND_TLS", default=False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS else None
SECURE_SSL_REDIRECT = BEHIND_TLS
SECURE_REDIRECT_EXEMPT = [r"^health$", r"^ready$", r"^prometheus$"]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
HSTS_S = env_int("AUTOPACK_HSTS_S", default=365 * 86_400, minimum=0)
SECURE_HSTS_SECONDS = HSTS_S if BEHIND_TLS else 0
CSRF_TRUSTED_ORIGINS = env_list("AUTOPACK_TRUSTED_ORIGINS", default="")

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "autopack_site",
    "strategy",
    "runs",
    "issues",
    "integration",
]
MIDDLEWARE = [
    "autopack_site.kernel.correlation.CorrelationMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "autopack_site.content_security.ContentSecurityMiddleware",
    "autopack_site.pages.Sessions",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "autopack_site.pages.People",
    "autopack_site.pages.Messages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "autopack_site.urls"
WSGI_APPLICATION = "autopack_site.wsgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
STATIC_URL = "static/"
STATIC_ROOT = STATE_DIR / "static"
DATA_UPLOAD_MAX_MEMORY_SIZE = env_int("AUTOPACK_MAX_BODY_BYTES", default=16 * 1024 * 1024, minimum=1024)
# HSTS for subdomains and in browsers' lists binds a whole domain: that is for its owner, at the proxy.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

# --- PostgreSQL and Redis ----------------------------------------------------------------------------
DATABASE_URL = env_str(
    "DATABASE_URL", LOCAL.get("database_url", "postgresql://autopack@127.0.0.1:5432/autopack")
)
DATABASES = {
    "default": {
        **dj_database_url.parse(
            DATABASE_URL, conn_max_age=env_int("AUTOPACK_CONN_MAX_AGE_S", default=60, minimum=0)
        ),
        "CONN_HEALTH_CHECKS": True,
    }
}
PREPARED_STATEMENTS = env_bool("AUTOPACK_PREPARED_STATEMENTS", default=True)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = env_str("AUTOPACK_REDIS_URL", LOCAL.get("redis_url", "redis://127.0.0.1:6379/0"))

# --- engine timings (ENGINE.md; tests shorten them) --------------------------------------------------
LEASE_TTL_S = env_float("AUTOPACK_LEASE_TTL_S", default=60.0, minimum=0.1)
LEASE_RENEW_S = env_float("AUTOPACK_LEASE_RENEW_S", default=15.0, minimum=0.05)
LEASE_LOST_S = env_float("AUTOPACK_LEASE_LOST_S", default=45.0, minimum=0.1)
SWEEP_S = env_float("AUTOPACK_SWEEP_S", default=5.0, minimum=0.1)
AGING_SWEEP_S = env_float("AUTOPACK_AGING_SWEEP_S", default=3600.0, minimum=1.0)
PROJECT_FILES_EVERY_S = env_float("AUTOPACK_PROJECT_FILES_EVERY_S", default=60.0, minimum=0.0)
OUTBOX_RESEND_S = env_float("AUTOPACK_OUTBOX_RESEND_S", default=10.0, minimum=0.1)
CLAIM_DEADLINE_S = env_float("AUTOPACK_CLAIM_DEADLINE_S", default=900.0, minimum=0.1)
BUDGET_GRACE_S = env_float("AUTOPACK_BUDGET_GRACE_S", default=60.0, minimum=0.1)
GATE_BACKOFF_S = env_float("AUTOPACK_GATE_BACKOFF_S", default=5.0, minimum=0.0)
# more than the half hour that `wall_s` gives the steps of a try: what hangs is to be red by that first
GATE_DEADLINE_S = env_float("AUTOPACK_GATE_DEADLINE_S", default=2100.0, minimum=0.5)
MAX_LOST_ATTEMPTS = env_int("AUTOPACK_MAX_LOST_ATTEMPTS", default=25, minimum=1)
APPLY_LIMIT_S = env_float("AUTOPACK_APPLY_LIMIT_S", default=10.0, minimum=0.5)

# Where the fault tests end a process (integration/crash.py); production refuses it.
CRASH_DIR = env_str("AUTOPACK_CRASH_DIR", "")

# --- limits on what agents hand in -------------------------------------------------------------------
MAX_PATCH_BYTES = env_int("AUTOPACK_MAX_PATCH_BYTES", default=5 * 1024 * 1024, minimum=1024)
# Joints lower the counts that caps are judged by: of what one phase says, some are believed, the rest is a person's.
MAX_JOINTS_PER_PHASE = env_int("AUTOPACK_MAX_JOINTS_PER_PHASE", default=5, minimum=0)
# Long polls hold a thread each: below the threads of a web process, so that waiting agents can't starve it.
MAX_WAITERS = env_int("AUTOPACK_MAX_WAITERS", default=8, minimum=0)
STREAM_LIMIT_S = env_float("AUTOPACK_STREAM_LIMIT_S", default=300.0, minimum=1.0)
# An Idempotency-Key: how long a repeat waits for the first request, and how long that one may take at most
# before its process counts as dead. Above the longest wait of a claim and APPLY_LIMIT_S together.
IDEMPOTENCY_WAIT_S = env_float("AUTOPACK_IDEMPOTENCY_WAIT_S", default=10.0, minimum=0.0)
IDEMPOTENCY_OWNER_S = env_float("AUTOPACK_IDEMPOTENCY_OWNER_S", default=120.0, minimum=0.1)
# Buckets of a minute's worth; 0 is no limit. Fifty agents at two requests a second are 6,000 a minute together.
TOKEN_REQUESTS_PER_MINUTE = env_int("AUTOPACK_TOKEN_REQUESTS_PER_MINUTE", default=6000, minimum=0)
ADDRESS_REQUESTS_PER_MINUTE = env_int("AUTOPACK_ADDRESS_REQUESTS_PER_MINUTE", default=30_000, minimum=0)
FAILED_TOKENS_PER_MINUTE = env_int("AUTOPACK_FAILED_TOKENS_PER_MINUTE", default=60, minimum=0)
TRUSTED_PROXIES = env_int("AUTOPACK_TRUSTED_PROXIES", default=0, minimum=0)
# Uids are the machine's, so under root their locks are too: two Autopacks never give out the same one.
UID_LOCK_DIR = env_path(
    "AUTOPACK_UID_LOCK_DIR", default=Path("/run/autopack") if os.geteuid() == 0 else STATE_DIR
)
SANDBOX_UID_BASE = env_int("AUTOPACK_SANDBOX_UID_BASE", default=210_000, minimum=1000)

# --- ports and topics (wiring.py explains) -----------------------------------------------------------
AUTOPACK_PORTS = wiring.PORTS
AUTOPACK_TOPICS = wiring.TOPICS

# --- Celery: rows own the retry, so a message is only ever a hint ------------------------------------
CELERY_BROKER_URL = broker_url(REDIS_URL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_BACKEND = None
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = env_float("AUTOPACK_SOFT_SHUTDOWN_S", default=60.0, minimum=0.0)
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 12 * 3600,  # above every hard task limit
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 25,
}
CELERY_TASK_DEFAULT_QUEUE = "sweep"
CELERY_TASK_QUEUES = [
    Queue(name, Exchange(name), routing_key=name) for name in ("agent", "gate", "merge", "sweep")
]
CELERY_TASK_PUBLISH_RETRY = True
CELERY_TASK_PUBLISH_RETRY_POLICY = {
    "max_retries": 1,
    "interval_start": 0.05,
    "interval_step": 0.05,
    "interval_max": 0.1,
}
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_SCHEDULE = {
    "sweep": {
        "task": "runs.tasks.sweep",
        "schedule": SWEEP_S,
        "options": {"expires": SWEEP_S, "queue": "sweep"},
    },
    "integration-sweep": {
        "task": "integration.tasks.sweep",
        "schedule": SWEEP_S,
        "options": {"expires": SWEEP_S, "queue": "sweep"},
    },
    "seal-metrics": {
        "task": "integration.tasks.seal_metrics",
        "schedule": 3600.0,
        "options": {"expires": 3600.0, "queue": "sweep"},
    },
    "pack-mirrors": {
        "task": "integration.tasks.pack_mirrors",
        "schedule": 3600.0,
        "options": {"expires": 3600.0, "queue": "sweep"},
    },
    "aging": {
        "task": "issues.tasks.age_backlogs",
        "schedule": AGING_SWEEP_S,
        "options": {"expires": AGING_SWEEP_S, "queue": "sweep"},
    },
}
CELERY_BEAT_MAX_LOOP_INTERVAL = min(5.0, SWEEP_S)
DJANGO_CELERY_BEAT_TZ_AWARE = True

# --- repositories on servers --------------------------------------------------------------------------
GIT_CREDENTIALS = env_str("AUTOPACK_GIT_CREDENTIALS", "")
GIT_CA_FILE = env_str("AUTOPACK_GIT_CA_PATH", "")
GIT_SSH_KEY_FILE = env_str("AUTOPACK_GIT_SSH_KEY_PATH", "")
GIT_KNOWN_HOSTS_FILE = env_str("AUTOPACK_GIT_KNOWN_HOSTS_PATH", "")

# --- processes of `manage.py up` ----------------------------------------------------------------------
WEB_WORKERS = env_int("AUTOPACK_WEB_WORKERS", default=2, minimum=1)
WEB_THREADS = env_int("AUTOPACK_WEB_THREADS", default=16, minimum=1)
WORKER_CONCURRENCY = {
    "agent": env_int("AUTOPACK_AGENT_WORKERS", default=2, minimum=1),
    "gate": env_int("AUTOPACK_GATE_WORKERS", default=2, minimum=1),
    "merge": env_int("AUTOPACK_MERGE_WORKERS", default=2, minimum=1),
    "sweep": env_int("AUTOPACK_SWEEP_WORKERS", default=1, minimum=1),
}

# --- HTTP API ----------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["runs.api.authentication.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "autopack_site.kernel.problem.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "runs.api.negotiation.OneForm",
    "URL_FORMAT_OVERRIDE": None,
    "DEFAULT_METADATA_CLASS": None,
    "DATETIME_FORMAT": "%Y-%m-%dT%H:%M:%S.%fZ",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Autopack",
    "DESCRIPTION": "Supervisor for autonomous code-building runs",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "runs.api.openapi.complete",
    ],
    "ENUM_NAME_OVERRIDES": {"SeverityEnum": ["minor", "major"]},
}

# --- logs --------------------------------------------------------------------------------------------
LOGGING_CONFIG = None
# A command at a terminal prints its own answer; what serves (gunicorn, celery) tells what it does.
_IS_COMMAND = Path(sys.argv[0]).name == "manage.py" or "PYTEST_VERSION" in os.environ
LOG_LEVEL = env_str("AUTOPACK_LOG_LEVEL", "WARNING" if _IS_COMMAND else "INFO").upper()
LOG_JSON = env_bool("AUTOPACK_LOG_JSON", default=False)
logs.configure(level=LOG_LEVEL, as_json=LOG_JSON)
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

# --- the admin ---------------------------------------------------------------------------------------
X_FRAME_OPTIONS = "DENY"
LOGIN_URL = "admin:login"
UNFOLD = {
    "SITE_TITLE": "Autopack",
    "SITE_HEADER": "Autopack",
    "SITE_SYMBOL": "rocket_launch",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "/static/console/icon.svg"}],
    "SIDEBAR": {"navigation": "autopack_site.navigation.navigation"},
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(62.3% .214 259.815)",
            "600": "oklch(54.6% .245 262.881)",
            "700": "oklch(48.8% .243 264.376)",
            "800": "oklch(42.4% .199 265.638)",
            "900": "oklch(37.9% .146 265.522)",
            "950": "oklch(28.2% .091 267.935)",
        },
    },
}
# A row's own page in the admin links to the page that a person on call wants.
ABSOLUTE_URL_OVERRIDES = {
    "runs.run": lambda run: f"/admin/board/runs/{run.pk}/",
    "runs.attempt": lambda attempt: f"/admin/board/attempts/{attempt.pk}/",
}
