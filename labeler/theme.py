"""Gradio's theme, set to the variables of static/coach.css: light and dark have one source."""

from __future__ import annotations

import gradio as gr

FONT = ["Inter", "system-ui", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "DejaVu Sans Mono", "monospace"]

_SAME = {  # the same in light and dark: the variables themselves change
    "body_background_fill": "var(--c-bg)",
    "body_text_color": "var(--c-ink)",
    "body_text_color_subdued": "var(--c-mute)",
    "background_fill_primary": "var(--c-card)",
    "background_fill_secondary": "var(--c-bg)",
    "border_color_primary": "var(--c-line)",
    "border_color_accent": "var(--c-accent)",
    "color_accent_soft": "var(--c-soft)",
    "link_text_color": "var(--c-accent)",
    "link_text_color_hover": "var(--c-accent)",
    "link_text_color_active": "var(--c-accent)",
    "link_text_color_visited": "var(--c-accent)",
    "block_background_fill": "var(--c-card)",
    "block_border_color": "var(--c-line)",
    "block_info_text_color": "var(--c-mute)",
    "block_label_background_fill": "var(--c-card)",
    "block_label_text_color": "var(--c-mute)",
    "block_title_text_color": "var(--c-ink)",
    "panel_background_fill": "var(--c-card)",
    "panel_border_color": "var(--c-line)",
    "input_background_fill": "var(--c-field)",
    "input_background_fill_focus": "var(--c-field)",
    "input_border_color": "var(--c-edge)",
    "input_border_color_focus": "var(--c-accent)",
    "input_placeholder_color": "var(--c-mute)",
    "checkbox_background_color": "var(--c-field)",
    "checkbox_background_color_selected": "var(--c-accent)",
    "checkbox_border_color": "var(--c-edge)",
    "checkbox_border_color_selected": "var(--c-accent)",
    "checkbox_label_background_fill": "var(--c-field)",
    "checkbox_label_background_fill_hover": "var(--c-soft)",
    "checkbox_label_background_fill_selected": "var(--c-soft)",
    "checkbox_label_border_color": "var(--c-edge)",
    "checkbox_label_border_color_selected": "var(--c-accent)",
    "checkbox_label_text_color": "var(--c-ink)",
    "checkbox_label_text_color_selected": "var(--c-ink)",
    "button_primary_background_fill": "var(--c-accent)",
    "button_primary_background_fill_hover": "var(--c-accent-hover)",
    "button_primary_border_color": "var(--c-accent)",
    "button_primary_text_color": "var(--c-accent-ink)",
    "button_secondary_background_fill": "var(--c-card)",
    "button_secondary_background_fill_hover": "var(--c-soft)",
    "button_secondary_border_color": "var(--c-edge)",
    "button_secondary_text_color": "var(--c-ink)",
    "table_even_background_fill": "var(--c-card)",
    "table_odd_background_fill": "var(--c-card)",
    "loader_color": "var(--c-accent)",
    "slider_color": "var(--c-accent)",
}


def coach_theme() -> gr.themes.Base:
    """System fonts only: a page of this app asks no other host for anything."""
    theme = gr.themes.Base(primary_hue="teal", neutral_hue="slate", font=FONT, font_mono=MONO)
    dark = {f"{name}_dark": value for name, value in _SAME.items()}
    return theme.set(
        **_SAME,
        **dark,
        block_radius="12px",
        input_radius="8px",
        button_large_radius="10px",
        button_medium_radius="10px",
        block_shadow="none",
        button_primary_shadow="none",
        button_secondary_shadow="none",
        input_border_width="1px",
        input_border_width_dark="1px",
        checkbox_label_border_width="1px",
        checkbox_label_border_width_dark="1px",
        button_border_width="1px",
        button_border_width_dark="1px",
        layout_gap="16px",
    )


def plain_html(value: str = "", name: str | None = None) -> gr.HTML:
    """A gr.HTML that brings no style of its own: static/coach.css has all of it."""
    return gr.HTML(value, elem_id=name, padding=False, apply_default_css=False)
