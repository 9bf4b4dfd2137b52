"""REST. Needs fastapi; speaks to the runtime in the words of `webui.schema`."""
