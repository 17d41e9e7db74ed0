import pytest


@pytest.fixture
def results(request):
    """Return who keeps results, None where ``HWS_COMPATIBILITY`` names none."""
    return request.config.pluginmanager.get_plugin("compatibility")
