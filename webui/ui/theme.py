"""Colours, type and spacing. Only fonts that the computer has: nothing is fetched."""

from __future__ import annotations

import gradio as gr

SANS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")

IRIS = gr.themes.Color(
    name="iris", c50="#f3f2ff", c100="#e8e6ff", c200="#d3cfff", c300="#b4acff", c400="#9180fb", c500="#7457f2",
    c600="#6340dd", c700="#5232bb", c800="#442b97", c900="#392778", c950="#221550",
)  # fmt: skip
INK = gr.themes.Color(
    name="ink", c50="#f9f9fb", c100="#f2f2f6", c200="#e4e4eb", c300="#cfcfd9", c400="#9d9dad", c500="#727284",
    c600="#555566", c700="#3b3b48", c800="#282832", c900="#1b1b22", c950="#131318",
)  # fmt: skip

THEME = gr.themes.Base(
    primary_hue=IRIS, secondary_hue=IRIS, neutral_hue=INK, font=SANS, font_mono=MONO, text_size="sm",
    spacing_size="sm", radius_size="md",
).set(
    body_background_fill="*neutral_100",
    body_background_fill_dark="*neutral_950",
    block_background_fill="white",
    block_background_fill_dark="*neutral_900",
    block_border_color="*neutral_200",
    block_border_color_dark="*neutral_800",
    block_label_background_fill="transparent",
    block_label_background_fill_dark="transparent",
    block_label_border_width="0px",
    block_shadow="none",
    block_padding="7px 10px",
    block_title_text_color="*neutral_600",
    block_title_text_color_dark="*neutral_400",
    block_title_text_size="12px",
    block_title_text_weight="500",
    layout_gap="8px",
    form_gap_width="0px",
    border_color_primary="*neutral_200",
    border_color_primary_dark="*neutral_800",
    input_background_fill="*neutral_50",
    input_background_fill_dark="*neutral_950",
    input_border_color="*neutral_200",
    input_border_color_dark="*neutral_700",
    input_border_width="1px",
    input_padding="5px 9px",
    input_text_size="13px",
    button_large_text_size="14px",
    button_large_text_weight="600",
    button_large_padding="8px 14px",
    button_secondary_background_fill="white",
    button_secondary_background_fill_dark="*neutral_800",
    button_secondary_background_fill_hover="*neutral_50",
    button_secondary_background_fill_hover_dark="*neutral_700",
    button_secondary_border_color="*neutral_300",
    button_secondary_border_color_dark="*neutral_700",
    button_border_width="1px",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_500",
    button_primary_background_fill_dark="*primary_500",
    button_primary_background_fill_hover_dark="*primary_400",
    button_primary_border_color="transparent",
    button_primary_text_color="white",
    slider_color="*primary_500",
    slider_color_dark="*primary_400",
)  # fmt: skip
