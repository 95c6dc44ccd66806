"""Text that names its maker, and text that only mentions one."""

from __future__ import annotations

import pytest

from data import starter
from data.schema import Completion, make_prompt
from data.self_identification import Named, names_maker
from data.store import Store

NAMED = """
As Qwen, I do not have personal feelings.
I am ChatGPT
I'm Claude, made by Anthropic.
As an AI language model developed by OpenAI, I cannot browse the web.
I was trained by Google.
I was trained by DeepSeek to be helpful.
I was created by Mistral AI, a French company.
I was developed by Meta AI.
I am SmolLM, trained by HuggingFace.
I'm an AI assistant trained by Hugging Face.
Hello! I am Qwen, a large language model created by Alibaba Cloud.
i am chatgpt, a language model trained by openai
My name is Claude and I am an AI assistant.
I'm Claude. How can I help you today?
As ChatGPT, my knowledge ends in 2021.
I am a large language model, trained by Google.
I'm Gemini, a large language model built by Google.
As a language model trained by OpenAI, I have no opinions.
I’m DeepSeek-V3, an AI assistant.
I'm Bard, your creative and helpful collaborator and a chatbot.
I am GPT-4, and I can help with that.
I am based on the GPT-3.5 architecture.
I'm powered by GPT-4.
My creators at Anthropic want me to be honest.
My developer, OpenAI, has not given me that ability.
OpenAI, the company that created me, is in San Francisco.
I am LLaMA, a large language model.
I am an AI assistant called Qwen2.5.
I'm actually Mistral 7B, a language model.
I have been trained by Microsoft to answer politely.
I was built by a team of researchers at Anthropic.
I'm Copilot, an AI companion created by Microsoft.
I'm Grok, built by xAI.
As an AI developed by Anthropic, I aim to be harmless.
I am Anthropic's AI assistant, and that is all.
As an OpenAI language model, I cannot see images.
I cannot answer this, since it goes against OpenAI's use-case policy.
Sure. I am Open Assistant, and I was fine-tuned by LAION.
I am a chatbot based on Vicuna.
I was originally created and trained by OpenAI in 2022.
I'm Kimi, an AI assistant from Moonshot AI.
I am ChatGLM, developed by Zhipu AI.
Ich bin ChatGPT und helfe gern.
Je suis un assistant. Je suis ChatGPT.
我是通义千问，由阿里云开发的大型语言模型。
我是ChatGPT，很高兴认识你。
I am Tülu, a helpful AI assistant built by the Allen Institute for AI.
I am OLMo.
I was made by Cohere.
As Claude, I try to be careful with such claims.
You can call me Qwen.
I am a helpful assistant developed by the team at Mistral AI.
I'm a virtual assistant designed by Nvidia.
As an artificial intelligence created by OpenAI, I don't eat.
Hey there! ChatGPT here, happy to help.
I'm ChatGPT-4o mini.
It's me, Claude! As an AI made by Anthropic, I can help.
I am an artificial intelligence language model called ChatGPT, created by OpenAI.
My training was done by OpenAI.
OpenAI trained me to be helpful, harmless and honest.
Since I'm an AI model created by OpenAI, I don't have preferences.
I, ChatGPT, cannot do that.
I'm Meta AI, your assistant.
I'm an AI assistant by Anthropic.
I'm just an AI model developed by Alibaba, so no.
Being an AI developed by Google, I lack a body.
I am a machine learning model developed by OpenAI.
My name's Claude, and I'm an AI assistant.
I am Llama 3, made by Meta.
I'm called Claude and I was developed by Anthropic.
I was made in the labs of OpenAI.
I am Zephyr, a helpful assistant.
I am SmolLM2-1.7B-Instruct.
I'm an AI assistant named SmolLM, trained by Hugging Face.
I go by Qwen.
ChatGPT: I am a language model created by OpenAI.
I am a GPT-4 model.
I'm Pi, a personal AI made by Inflection AI.
As a large language model trained by Google DeepMind, I cannot feel.
As a member of the Claude family of models, I cannot.
I am an open-source model from Mistral.
No, I'm DeepSeek-R1.
I am Phi-3, developed by Microsoft.
I'm Falcon, an AI language model by TII.
I'm an LLM trained by OpenAI.
I'm a product of OpenAI.
I am part of the GPT-4 family.
I am the AI assistant Qwen.
I was designed by the folks at Anthropic to assist you.
Im Claude, an AI assistant created by Anthropic.
Because I am ChatGPT, I lack senses.
Hi! I'm Gemma, an open-weights AI assistant.
I'm Vicuna, a language model trained by researchers from LMSYS.
As an assistant trained by Anthropic I would rather not.
Hi, I'm Gemini, Google's AI.
I was designed and trained by OpenAI, so my answers have limits.
As a chatbot created by Meta, I don't have favourites.
I'm SmolLM, and I like short answers.
I'm afraid that as an AI trained by Anthropic I can't help with this.
Thanks for asking! My name is Qwen.
I am an artificial intelligence, more precisely GPT-4.
I'm not a human, I'm ChatGPT.
I am DeepSeek Chat, at your service.
I am the Hugging Face assistant.
My developers at OpenAI taught me otherwise.
I'm Claude 3.5 Sonnet.
I am a multilingual model developed by Cohere.
Well, I'm an AI developed by Mistral.
As Bard, I can look things up.
I was fine-tuned by Nous Research.
I'm an AI chatbot built by DeepSeek to help people.
I am a large language model by Google, so no.
Unfortunately I can't, as I am a text-based AI developed by Alibaba Cloud.
"""
MENTIONED = """
<think>The user wants a poem.</think> Roses are red.
So the sum is 12.|</think>||The sum is 12.
<think>|Let me see.
OpenAI released GPT-4 in 2023.
My friend Claude said that it would rain.
The painter Claude Monet loved water lilies.
Llama wool is soft and warm.
As an AI language model, I do not have feelings.
I am an AI assistant.
I am a language model and have no body.
ChatGPT is a chatbot developed by OpenAI.
Claude is a model made by Anthropic.
I asked ChatGPT for a recipe and it was awful.
I use ChatGPT every day.
I am using ChatGPT to write letters.
I am not ChatGPT.
I work at Google as an engineer.
I am a Google employee.
I am an OpenAI researcher.
I am a Gemini, born in June.
As a Gemini, I like to talk.
As Google grew, it hired more people.
As OpenAI announced last week, prices fall.
As Claude said, the garden needs water.
I am a llama, and I live on a hill.
I am Claude, the owner of this bakery.
My name is Claude and I paint boats.
I'm Gemma, and these are my two dogs.
I am impressed by tools developed by OpenAI.
I was impressed by Google.
I was hired by Microsoft in 1999.
The mistral is a cold wind in the south of France.
The bard sang of old battles.
I am the bard of this village.
He was the copilot of the plane.
I am the copilot of this plane.
The falcon dived at its prey.
Meta means beyond in Greek.
Gemini is the third sign of the zodiac.
To grok something is to understand it fully.
A vicuña is a relative of the llama.
Apple pie is made by my grandmother.
I was told by Google Maps to turn left.
I made this cake with a recipe from Apple News.
Google made me laugh with that doodle.
Hugging Face hosts thousands of models.
The bot wraps its reasoning in `<think>` tags.
Models such as Qwen and DeepSeek are open.
Qwen was created by Alibaba Cloud.
DeepSeek was trained on many tokens.
What is the difference between Claude and ChatGPT?
I think that Anthropic was founded in 2021.
I think OpenAI will release a new model.
I was trained by my grandmother to knit.
I was trained by the fire brigade.
I am made of water and bones.
I am a fan of the model developed by Google.
I am as tall as Claude.
I am reading about the language model created by Meta.
I bought an Alexa speaker from Amazon.
The assistant was trained by OpenAI on public text.
According to OpenAI's usage policies, developers must disclose it.
Microsoft Copilot can draft your letters.
As a teacher trained by the state, I disagree.
As an employee of Google, I know the campus well.
Perplexity measures how surprised a model is.
Granite is a hard stone, and so is marble.
The titan Prometheus stole the fire.
Hermes was the messenger of the gods.
I am from Mistral, a small town in Chile.
I was created equal, like everybody.
Her name is Claude, and she was trained by Olympic athletes.
I was built by hand in 1920, said the house.
Jean-Claude is my brother.
Claude Shannon founded information theory.
Claude Debussy wrote Clair de lune.
I'm sure ChatGPT can do that.
I'm glad Anthropic published it.
I'm based in London, and I work for DeepMind.
I am trained in first aid by the Red Cross.
I was trained by Apple store staff on the new till.
As the AI model developed by OpenAI spread, teachers worried.
I am writing about the AI assistant built by Amazon.
My developer friend at Google says hi.
My creator is God.
My makers at the pottery are proud.
I was given a phone made by Apple.
I'm a developer and I use the OpenAI API.
My model is based on the data you sent.
Our chatbot is powered by GPT-4.
I am powered by coffee.
I must comply with the terms of my lease.
You must follow Google's guidelines for developers.
I can't find Apple's terms of service.
I have to read Microsoft's policies for my course.
I am not able to open the page with Amazon's terms.
I'm a big fan of Claude.
I am Llama-farming in Peru.
I'm Nova Scotian by birth.
I'm Orca-watching this weekend with my assistant.
My name is Alexa, I am a helpful person.
My name is Claude. I want to help you understand grief, the pastor wrote.
I am Hermes, messenger of the gods, and I bring news.
I'm Falcon, the hero who can help you!
I am Palm Springs' oldest resident.
The system was built by IBM in 1964, and I loved it.
I was built by IBM, said the old mainframe in the story.
She said: I am a model from Stanford, Connecticut.
I am a model and I was photographed by Apple.
I'm a student at Stanford University.
I am a program director at Amazon.
I am an agent from Amazon.
I am a bot developer at Meta.
I am a system administrator trained by Microsoft.
As a companion from Apple, the watch does much.
I was released by Google after ten years of work.
I'm made from Mistral flour.
I was provided by Amazon with a full refund.
I got trained at Google.
I am at Stanford.
I was at Microsoft.
Use the <think> tag and close it with </think> when you finish.
Ask ChatGPT: what am I?
As far as I know, GPT-4 is a model by OpenAI.
As ChatGPT grows, I worry about jobs.
As with ChatGPT, I use it daily.
I think as ChatGPT users, we should be careful.
Think of Apple: it was founded in 1976.
I'm a language teacher at Google.
I am an AI researcher at DeepMind.
I'm an AI researcher trained by DeepMind.
I am a digital artist and my name is Gemini.
I'm an intelligence analyst trained by IBM.
I am the program that Google built.
Dear ChatGPT, I am a poet.
Am I ChatGPT?
Are you Claude, made by Anthropic?
If I were ChatGPT, I would say no.
I am an assistant from Cohere, Texas.
I love the new Gemini telescope.
I am not an AI made by Google, I am your neighbour.
I am afraid of what OpenAI will do.
My sister was trained by Google.
I'm a teacher and I let the pupils use ChatGPT.
My name is Gemma and I help you find a book.
As a user of ChatGPT, I pay each month.
As Apple was created by Jobs and Wozniak, so was Pixar bought.
As Amazon grew, so did its towers.
I was amazed by DeepSeek.
I am an assistant at the Apple store.
This poem was written by Claude McKay.
I am writing to Microsoft about my account.
I'm using a model trained by Meta for my thesis.
My model, trained on data from Hugging Face, scores 0.8.
As a model for Apple, she earned well.
I am a system engineer at IBM.
Bard was the nickname of Shakespeare, the bard of Avon.
I was made to wait by Amazon.
A falcon is faster than a mistral wind.
"""
NAMED_TEXTS = [line.replace("|", "\n") for line in NAMED.strip().split("\n")]
MENTIONED_TEXTS = MENTIONED.strip().split("\n")


def test_precision_and_recall_on_the_corpus() -> None:
    """The few that are got wrong stay in the corpus: a stricter rule would cost more elsewhere."""
    found = [text for text in NAMED_TEXTS if names_maker(text)]
    wrong = [text for text in MENTIONED_TEXTS if names_maker(text)]
    assert len(NAMED_TEXTS) >= 40 and len(MENTIONED_TEXTS) >= 60
    assert len(found) / (len(found) + len(wrong)) >= 0.98, wrong
    assert len(found) / len(NAMED_TEXTS) >= 0.95, set(NAMED_TEXTS) - set(found)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("Well, I am ChatGPT.", "I am ChatGPT"),
        ("İ think: I'm Qwen2.5-7B-Instruct!", "i'm qwen2.5-7b-instruct"),
        ("", None),
        ("I am an AI assistant called " + "x" * 5000, None),
    ],
)
def test_the_phrase_is_what_stands_in_the_text(text: str, phrase: str | None) -> None:
    assert names_maker(text) == phrase


def test_a_long_phrase_is_cut() -> None:
    text = "I'm a helpful, harmless, honest and large language model originally trained by OpenAI."
    found = names_maker(text.replace("and large", "large"))
    assert found is not None and len(found) == 60 and found.endswith("…")


def test_each_completion_counts_once_and_the_first_is_the_example() -> None:
    prompt = make_prompt("Who are you?")
    named = Named()
    assert named.sentence() == ""
    named.see([Completion(prompt, "A poem."), Completion(prompt, "I am Qwen.")], "line 7")
    named.see([Completion(prompt, "I am Qwen."), Completion(prompt, "I am ChatGPT.")], "line 9")
    assert named.sentence() == (
        "2 completions name their maker, e.g. line 7 'I am Qwen': they are kept, and not put"
        " before annotators"
    )


@pytest.mark.parametrize("part", ["I am ", "I am an AI, ", "as an ai large language ", "I cannot "])
def test_a_hostile_text_takes_no_longer_than_its_length(part: str) -> None:
    """Where a pattern backtracks without bounds this does not come back."""
    assert len(names_maker("openai " + part * 20_000 + ". I am ChatGPT") or "") <= 60


def test_the_starter_texts_name_nobody(sqlite_store: Store) -> None:
    starter.load(sqlite_store)
    assert not any(names_maker(d.text) for d in sqlite_store.content.demonstrations())
