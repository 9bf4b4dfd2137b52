"""The page. The only package that imports gradio; it speaks to the runtime in the words of `webui.schema`."""
